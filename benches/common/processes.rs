//! What a process has of the system's, and which core it runs on. Linux only: it reads /proc. Owns how these are asked
//! for; does not know what is measured.

use std::fs;
use std::io::{self, ErrorKind};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a process has of the system's.
#[derive(Clone, Copy, Debug)]
pub struct Holdings {
    /// Memory in use.
    pub memory_kib: u64,
    /// The most that was in use so far.
    pub peak_memory_kib: u64,
    pub threads: u64,
    pub descriptors: u64,
}

/// What a process has now.
pub fn holdings(pid: u32) -> io::Result<Holdings> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let number = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .ok_or(io::Error::from(ErrorKind::InvalidData))
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
    let (memory_kib, peak_memory_kib) = (number("VmRSS:")?, number("VmHWM:")?);
    Ok(Holdings { memory_kib, peak_memory_kib, threads: number("Threads:")?, descriptors })
}

/// Processor time of all threads of a process so far.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    // A hundredth of a second is the unit of /proc/PID/stat on every Linux there is (`getconf CLK_TCK`).
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let behind_the_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_the_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    Ok(TICK * ticks.sum::<u32>())
}

/// Puts all threads of a process on one core, where that can be done.
pub fn pin(pid: u32, core: usize) -> bool {
    pin_to(pid, &[core])
}

/// Lets all threads of a process run on these cores and no others, where that can be done.
pub fn pin_to(pid: u32, cores: &[usize]) -> bool {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    taskset("-apc", &cores.join(","), &pid.to_string())
}

/// Puts this thread, and all threads and programs that it starts from now on, on the last core that it may use. Says so
/// where that cannot be done.
pub fn pin_this_thread() {
    let thread = of_this_thread("Pid:");
    if !cores().last().is_some_and(|core| taskset("-pc", &core.to_string(), &thread)) {
        eprintln!("there is no taskset: this shares all cores");
    }
}

/// The cores that this thread may use, in order.
pub fn cores() -> Vec<usize> {
    let number = |text: &str| text.parse::<usize>().ok();
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
        None => number(range).map(|core| core..=core),
    };
    of_this_thread("Cpus_allowed_list:").split(',').filter_map(range).flatten().collect()
}

/// What the system says of this thread under this name; nothing where it does not.
fn of_this_thread(name: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix(name)).map_or_else(String::new, |word| word.trim().to_owned())
}

fn taskset(options: &str, core: &str, id: &str) -> bool {
    let mut command = Command::new("taskset");
    let status = command.args([options, core, id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
