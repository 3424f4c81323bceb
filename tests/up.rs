//! `bitacora up` and the verbs, as a person uses them.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test stops at the first surprise; real time"
)]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitacora::os::process::{Ask, send};
use serde_json::Value as Json;
use support::http::{ask, get};
use support::ports::{Ports, is_free};
use support::process::{Process, Signal, command};
use support::{BITACORA, SOON, eventually};

struct Up {
    process: Process,
    log: PathBuf,
    base: u16,
}

impl Up {
    fn start(dir: &Path, base: u16) -> Self {
        let log = dir.join("up.out");
        let _ = std::fs::remove_file(&log);
        let mut up = command(BITACORA);
        up.args(["up", "--nodes", "3", "--base-port", &base.to_string(), "--data-dir"]);
        up.arg(dir.join("data"));
        let up = Self { process: Process::start(up, &log), log, base };
        up.wait_for("curl -X POST");
        up
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn wait_for(&self, text: &str) {
        eventually(&format!("up says {text:?}, not only: {}", self.said()), SOON, || {
            self.said().contains(text).then_some(())
        });
    }

    fn heartbeats(&self) -> Option<Vec<Json>> {
        let beat = |port| ask(port, &get("/heartbeat").within(Duration::from_secs(2))).ok();
        (self.base..self.base + 3).map(|port| Some(beat(port)?.json())).collect()
    }

    /// Name and process of the leader.
    fn leader(&self) -> (String, u32) {
        eventually("someone leads", SOON, || {
            let beats = self.heartbeats()?;
            let leader = beats.iter().find(|beat| beat["role"] == "leader")?;
            let pid = u32::try_from(leader["pid"].as_u64()?).unwrap();
            Some((leader["node"].as_str()?.to_owned(), pid))
        })
    }

    fn stop(mut self) -> String {
        self.process.signal(Signal::INT);
        let status = self.process.wait(SOON);
        assert_eq!(status.code(), Some(0), "{}", self.said());
        for port in self.base..self.base + 3 {
            assert!(is_free(port), "a node still listens on {port}");
        }
        self.said()
    }

    /// A verb against this cluster: exit code, standard output, standard error.
    fn verb(&self, arguments: &[&str]) -> (i32, String, String) {
        let urls: Vec<_> = (0..3).map(|at| format!("127.0.0.1:{}", self.base + at)).collect();
        let mut verb = command(BITACORA);
        let output = verb.args(arguments).args(["--url", &urls.join(",")]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.verb(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], expected: i32) -> String {
        let (code, out, err) = self.verb(arguments);
        assert_eq!(code, expected, "{arguments:?}: {out}{err}");
        format!("{out}{err}")
    }
}

#[test]
fn up_starts_a_cluster_restarts_a_killed_leader_stops_on_ctrl_c_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports::take();
    let up = Up::start(dir.path(), ports.at(0));
    up.done(&["put", "colour", "blue", "--acks", "all"]);
    let (name, pid) = up.leader();
    send(pid, Ask::Kill).unwrap();
    up.wait_for(&format!("{name} is back"));
    let beats = eventually("all three answer again", SOON, || {
        up.heartbeats().filter(|beats| beats.iter().all(|beat| !beat["leader"].is_null()))
    });
    let again = beats.iter().find(|beat| beat["node"] == name.as_str()).unwrap();
    assert_ne!(again["pid"].as_u64(), Some(u64::from(pid)), "the fault did not happen");
    let said = up.said();
    let mentions = said.lines().filter(|line| line.contains(&name)).count();
    assert!(mentions >= 3, "up tells of the end, the restart and the return of {name}: {said}");
    assert!(said.contains("signal: 9") || said.contains("killed"), "{said}");
    assert_eq!(up.done(&["get", "colour"]), "blue");
    let said = up.stop();
    assert!(said.contains("stopped"), "{said}");

    let up = Up::start(dir.path(), ports.at(0));
    assert!(up.said().contains("resuming 3 nodes"), "{}", up.said());
    assert_eq!(up.done(&["get", "colour"]), "blue");
    up.stop();
}

#[test]
fn a_second_up_on_the_same_ports_is_told_who_has_them() {
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports::take();
    let up = Up::start(dir.path(), ports.at(0));
    let other = tempfile::tempdir().unwrap();
    let mut second = command(BITACORA);
    second.args(["up", "--base-port", &ports.at(0).to_string(), "--data-dir"]).arg(other.path());
    let log = other.path().join("out");
    let status = Process::start(second, &log).wait(SOON);
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("is `up` running already?"), "{said}");
    up.stop();
}

#[test]
fn the_verbs_do_what_they_say_and_end_with_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports::take();
    let up = Up::start(dir.path(), ports.at(0));

    let receipt = up.done(&["put", "app/colour", "blue", "--acks", "all"]);
    for node in ["node1", "node2", "node3"] {
        assert!(receipt.contains(node), "{receipt}");
    }
    let receipt = up.done(&["put", "app/size", "-5", "-o", "json"]);
    let receipt: Json = serde_json::from_str(&receipt).unwrap();
    assert!(receipt["index"].is_u64(), "{receipt}");
    up.done(&["write", "{\"from\":\"10\",\"to\":\"20\"}"]);

    assert_eq!(up.done(&["get", "app/colour"]), "blue");
    assert_eq!(up.done(&["get", "app/size"]), "-5");
    let said = up.fails(&["get", "missing"], 3);
    assert!(said.contains("no such key"), "{said}");

    let list = up.done(&["list", "app/", "--keys-only"]);
    let at = |key: &str| list.find(key).unwrap_or_else(|| panic!("{key} is not in {list}"));
    assert!(at("app/colour") < at("app/size") && !list.contains("from"), "{list}");
    let lines = up.done(&["list", "-o", "json"]);
    assert!(lines.contains("\"key\":\"to\""), "{lines}");

    let index = receipt["index"].to_string();
    up.done(&["put", "app/size", "6", "--if-match", &index]);
    let said = up.fails(&["put", "app/size", "7", "--if-match", &index], 1);
    assert!(said.contains("precondition") || said.contains("last change"), "{said}");
    up.fails(&["put", "app/size", "7", "--if-absent"], 1);
    assert_eq!(up.done(&["get", "app/size"]), "6");
    up.done(&["del", "app/size"]);
    up.fails(&["get", "app/size"], 3);
    up.fails(&["put", "k", "v", "--acks", "most"], 64);
    up.fails(&["put", "k", "v", "--acks", "9"], 1);
    up.fails(&["put", "k", "v", "--no-such-flag"], 64);

    let log = up.done(&["log", "-o", "json"]);
    let entries: Vec<Json> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(entries.iter().any(|entry| entry["key"] == "app/colour"), "{log}");
    let indexes: Vec<_> = entries.iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..entries.len() as u64).collect::<Vec<_>>());

    let status = up.done(&["status"]);
    for word in ["node1", "node2", "node3", "leader", "follower"] {
        assert!(status.contains(word), "{status}");
    }
    up.done(&["probe", "ready"]);
    up.done(&["probe", "live"]);
    let curl = up.done(&["get", "app/colour", "--curl"]);
    assert!(curl.starts_with("curl") && curl.contains("/v1/kv/app/colour"), "{curl}");
    let closed = ports.at(7).to_string();
    let mut nobody = command(BITACORA);
    let nobody = nobody.args(["put", "k", "v", "--url", &format!("127.0.0.1:{closed}")]);
    assert_eq!(nobody.output().unwrap().status.code(), Some(1), "nothing was sent");
    up.stop();
}

#[test]
fn bench_measures_a_cluster_and_reports_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let ports = Ports::take();
    let up = Up::start(dir.path(), ports.at(0));
    for op in ["put", "get", "write"] {
        let report = up.done(&[
            "bench",
            "--duration",
            "1s",
            "--warmup",
            "100ms",
            "--clients",
            "8",
            "--keys",
            "50",
            "--op",
            op,
            "--json",
        ]);
        let report: Json = serde_json::from_str(&report).unwrap();
        assert!(report["ops_per_second"].as_f64() > Some(10.0), "{report}");
        assert!(report["latency_ms"]["p50"].as_f64() > Some(0.0), "{report}");
        assert_eq!(report["errors"], serde_json::json!({}), "{report}");
        assert_eq!(report["parameters"]["op"], op);
    }
    up.stop();
}
