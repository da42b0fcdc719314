//! Tasks that cannot be trained anywhere, and what the job makes of them; the programs' exit codes.

use crate::common::clients::Client;
use crate::common::process::reserve_port;
use crate::common::servers::{Coordinator, Node, nodes};
use crate::common::tables::small_table;

#[test]
fn a_job_that_diverges_on_every_node_fails_with_the_reason_whatever_is_asked() {
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);
    for (what, beginning) in [("fail", "shard "), ("skip", "every task of round 1 was skipped")] {
        let finished = Client::start(
            &coordinator,
            &["--eta", "1e30", "--rounds", "2", "--epochs", "1", "--on-task-failure", what],
        )
        .finish();
        assert_eq!(finished.exit, Some(1), "{what}: {finished:#?}");
        assert_eq!(finished.failed()["code"], "TASK_FAILED", "{what}");
        let text = finished.failed()["text"].as_str().unwrap();
        assert!(text.starts_with(beginning) && text.contains("the training diverged"), "{what}: {text}");
        assert!(finished.log.contains(text), "{what}: {finished:#?}");
    }
    // The nodes are not to blame.
    let status = coordinator.status();
    assert!(status.contains("2 of 2 active") && !status.contains("quarantined"), "{status}");
}

#[test]
fn a_shard_that_no_node_can_train_fails_the_job_or_is_left_out_of_every_round() {
    let directory = tempfile::tempdir().unwrap();
    // Classic takes the rows in their order, unscaled: the first shard has all that cannot be trained on.
    let table = small_table(&directory, 10);
    let job = ["--recipe", "classic", "--data", &table, "--rounds", "3", "--on-task-failure"];
    let fleet = nodes(2, "0", &[]);
    let coordinator = Coordinator::of("2", &fleet, &[]);

    let failed = Client::start(&coordinator, &[&job[..], &["fail"]].concat()).finish();
    assert_eq!(failed.exit, Some(1), "{failed:#?}");
    let text = failed.failed()["text"].as_str().unwrap();
    assert!(text.starts_with("shard 0 of round 1 failed on every node"), "{text}");

    let skipped = Client::start(&coordinator, &[&job[..], &["skip"]].concat()).finish();
    assert_eq!(skipped.done()["tasks"]["merged"], 30);
    assert_eq!(skipped.done()["tasks"]["skipped"], 3);
    assert_eq!(skipped.done()["reproducible"], false);
    let notices = skipped.notices("skipped");
    assert_eq!(notices.len(), 3, "{notices:?}");
    assert!(notices.iter().all(|notice| notice.starts_with("shard 0 of round ")), "{notices:?}");
}

#[test]
fn each_way_to_fail_has_its_exit_code_and_a_sentence() {
    let fleet = [Node::named("alone")];
    let coordinator = Coordinator::of("1", &fleet, &[]);
    let missing = ["--data", "/no/such/file.csv"];
    let fails = |client: Client, exit: i32, says: &str| {
        let finished = client.finish();
        assert_eq!(finished.exit, Some(exit), "{finished:#?}");
        assert!(finished.log.contains(says), "{says:?} is missing in {finished:#?}");
    };
    fails(Client::start(&coordinator, &missing), 2, "/no/such/file.csv");
    fails(Client::start(&coordinator, &["--rounds", "0"]), 2, "rounds");
    fails(Client::start(&coordinator, &["--out", "/no/such/directory/model"]), 2, "/no/such/directory");
    fails(Client::at(reserve_port(), &["--retry-for", "0"]), 3, "no coordinator");
    // A node is no coordinator.
    fails(Client::at(fleet[0].port, &[]), 3, "compute node");
}
