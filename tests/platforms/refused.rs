//! Machines that are refused when one builds for them.

#[path = "../../src/build.rs"]
mod build;

use build::refusal;

#[test]
fn a_machine_that_rounds_otherwise_is_refused_with_the_reason() {
    let refused = [
        ("i586-unknown-linux-gnu", "x86", "", ""),
        ("i686-unknown-linux-gnu", "x86", "fxsr,sse", "-C\x1ftarget-feature=-sse2"),
        ("thumbv7neon-unknown-linux-gnueabihf", "arm", "", ""),
        ("armv7-unknown-linux-gnueabihf", "arm", "", "-Ctarget-feature=+crt-static,+neon"),
        ("armv7-unknown-linux-gnueabihf", "arm", "", "-C\x1ftarget-cpu=cortex-a53"),
    ];
    for (target, architecture, features, flags) in refused {
        let reason = refusal(target, architecture, features, flags).expect(target);
        assert!(reason.contains(if architecture == "x86" { "x87" } else { "NEON" }), "{target}: {reason}");
    }
    let taken = [
        ("x86_64-unknown-linux-gnu", "x86_64", "fxsr,sse,sse2", "-C\x1ftarget-cpu=native"),
        ("i686-unknown-linux-gnu", "x86", "fxsr,sse,sse2", ""),
        ("armv7-unknown-linux-gnueabihf", "arm", "", "-C\x1ftarget-feature=+crt-static"),
        ("aarch64-unknown-linux-gnu", "aarch64", "neon", ""),
    ];
    for (target, architecture, features, flags) in taken {
        assert_eq!(refusal(target, architecture, features, flags), None, "{target} {flags}");
    }
}
