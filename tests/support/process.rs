//! Processes that end with the test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use super::eventually;

type Start = (Command, Sender<std::io::Result<Child>>);

/// Starts a process. All are started by one thread that never ends: `--exit-with-parent` ties a
/// process to the thread that started it, and the threads of tests come and go.
fn start(command: Command) -> std::io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Start>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (send, receive) = channel::<Start>();
        let run = move || {
            for (mut command, answer) in receive {
                let _ = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("starter".to_owned()).spawn(run).unwrap();
        Mutex::new(send)
    });
    let (answer, started) = channel();
    starter.lock().unwrap().send((command, answer)).unwrap();
    started.recv().unwrap()
}

/// A running process, killed when dropped.
pub struct Process {
    child: Child,
    paused: bool,
}

impl Process {
    /// Starts the program without this process's environment; both outputs go to the end of `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: start(command).unwrap(), paused: false }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGSTOP, as a machine that hangs.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
        self.paused = true;
        let status = format!("/proc/{}/status", self.pid());
        eventually("the process is stopped", Duration::from_secs(5), || {
            std::fs::read_to_string(&status).unwrap().contains("State:\tT").then_some(())
        });
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.paused = false;
    }

    /// `kill -9`, without waiting for its end.
    pub fn strike(&mut self) {
        assert!(self.has_ended().is_none(), "it has ended already");
        self.child.kill().unwrap();
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.strike();
        self.child.wait().unwrap();
    }

    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        eventually("the process ends", within, || self.has_ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A command with nothing in its environment but the path.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}
