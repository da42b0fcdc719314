//! Time for blocking sockets. A deadline is a total: what is left is computed anew before every call, so that a peer
//! that sends a byte now and then does not move it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Monotonic time since the program first asked; what sessions and the engine call `now`.
pub fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A point in time by which something must be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(wait: Duration) -> Deadline {
        Deadline(Instant::now() + wait)
    }

    /// What is left; the error is [`ErrorKind::TimedOut`].
    pub(super) fn left(&self) -> io::Result<Duration> {
        match self.0.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(ErrorKind::TimedOut.into()),
        }
    }
}

/// Whether the error only says that a socket's timeout has passed.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// One read, over by the deadline. A timeout is [`ErrorKind::TimedOut`], whatever the platform calls it.
pub(super) fn read(mut stream: &TcpStream, buffer: &mut [u8], deadline: Deadline) -> io::Result<usize> {
    loop {
        stream.set_read_timeout(Some(deadline.left()?))?;
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return Err(ErrorKind::TimedOut.into()),
            result => return result,
        }
    }
}

/// Writes all of it by the deadline. After an error the peer may have received any part: close.
pub(super) fn write_all(mut stream: &TcpStream, mut bytes: &[u8], deadline: Deadline) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.set_write_timeout(Some(deadline.left()?))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_timeout(&error) => return Err(ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
