//! Two collectors on one ledger: one of them goes on, and the other signs nothing.

use crate::common::*;
use crate::kill::TwoMachines;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// The arguments of a second collector with the same keys: its configuration differs by where it listens.
fn second(machines: &TwoMachines, data: &Path) -> (Vec<String>, SocketAddr) {
    let listen = free_address();
    let config = fs::read_to_string(&machines.config).unwrap();
    let config = config.replace(&machines.collector.to_string(), &listen.to_string());
    let path = machines.site.dir.path().join("second.toml");
    fs::write(&path, config).unwrap();
    let arguments = [
        "collector".as_ref(),
        "--config".as_ref(),
        path.as_path(),
        "--data".as_ref(),
        data,
        "--keys".as_ref(),
        &machines.site.keys,
    ];
    (arguments.map(|argument| argument.display().to_string()).to_vec(), listen)
}

fn ask(gateway: &Process) {
    let body = br#"{"model":"m-1","messages":[{"role":"user","content":"Hello"}]}"#;
    assert_eq!(post(gateway.listen, "/v1/chat/completions", &[], body).status, 200);
}

#[test]
fn a_second_collector_on_a_directory_that_is_held_does_not_start_under_any_name_of_it() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let (mut collector, mut gateway) = (machines.start_collector(), machines.start_gateway());
    ask(&gateway);
    let other_name = machines.site.dir.path().join("other-name");
    std::os::unix::fs::symlink(&machines.site.data, &other_name).unwrap();
    for data in [&machines.site.data, &other_name] {
        let (arguments, _) = second(&machines, data);
        let output = machines.site.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("a collector is running on it"), "{}", text(&output.stderr));
    }
    ask(&gateway);
    gateway.wait_shipped();
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    assert_eq!(machines.site.verify().0, 0);
}

/// A copy of the records beside the same keys: no lock of the directory can tell, the head does.
#[test]
fn of_two_collectors_with_one_head_the_one_that_finds_it_changed_signs_no_more() {
    let model = ModelServer::start();
    let machines = TwoMachines::new(&model.url);
    let (mut collector, mut gateway) = (machines.start_collector(), machines.start_gateway());
    ask(&gateway);
    gateway.wait_shipped();
    assert_eq!((gateway.stop(), collector.stop()), (0, 0));
    let copy = machines.site.dir.path().join("copy");
    copy_dir(&machines.site.data, &copy);

    let (mut first, gateway) = (machines.start_collector(), machines.start_gateway());
    let (arguments, listen) = second(&machines, &copy);
    let mut second = machines.site.serve(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), listen);
    // The second one has something to sign: a look at its records.
    let looked = machines.site.run(&["list", "--data", copy.to_str().unwrap()]);
    assert!(looked.status.success(), "{}", text(&looked.stderr));
    let head = || fs::read(machines.site.keys.join("head")).unwrap();
    let before = head();
    wait_until("signed by the second", || head() != before || !second.is_running());
    let mut asked = 0;
    while first.is_running() && second.is_running() {
        ask(&gateway);
        asked += 1;
        assert!(asked < 200, "two collectors sign one ledger");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (mut lost, mut goes_on) = if first.is_running() { (second, first) } else { (first, second) };
    assert_eq!(lost.wait(), 4, "{}", lost.log());
    assert!(lost.log().contains("was changed by someone else"), "{}", lost.log());
    assert!(goes_on.is_running());
    assert_eq!(goes_on.stop(), 0, "{}", goes_on.log());
    drop(gateway);
    // What was signed is whole in the one that went on.
    let data = if goes_on.listen == listen { &copy } else { &machines.site.data };
    let verified = machines.site.run(&[
        "verify",
        "--data",
        data.to_str().unwrap(),
        "--keys",
        machines.site.keys.to_str().unwrap(),
    ]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stdout));
}
