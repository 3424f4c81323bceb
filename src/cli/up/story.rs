//! What `up` says: a line for each event, and what to try once the cluster serves.
//!
//! # Not here
//! What happened ([`super::watch`]), printing.

use super::plan::Plan;
use super::watch::Event;

/// An event as a sentence.
pub fn sentence(event: &Event) -> String {
    match event {
        Event::Up { node } => format!("{node} is up"),
        Event::Missing { node } => format!("{node} is missing: its process is there, no answer"),
        Event::Back { node, behind: 0 } => format!("{node} is back and has every entry"),
        Event::Back { node, behind } => format!("{node} is back, {} behind", entries(*behind)),
        Event::CaughtUp { node, applied } => {
            format!("{node} has caught up: it applied everything up to index {applied}")
        }
        Event::Leads { node, term } => format!("{node} leads in term {term}"),
        Event::NobodyLeads => {
            "nobody leads: writes are refused until a node wins an election".into()
        }
        Event::MajorityLost { here, of } => {
            format!("{here} of {of} nodes: no majority, so writes are refused")
        }
        Event::MajorityBack { here, of } => format!("{here} of {of} nodes: a majority again"),
        Event::Ready => "ready".into(),
    }
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// What to try, with this cluster's own URLs and the leader's process.
pub fn hints(plan: &Plan, leader: Option<(&str, u32)>, restarts: bool) -> String {
    let url = |at: usize| {
        let node = plan.nodes.get(at).or_else(|| plan.nodes.last());
        node.map_or_else(String::new, |node| node.url.to_string())
    };
    let (one, two, three) = (url(0), url(1), url(2));
    let urls: Vec<&str> = plan.nodes.iter().map(|node| node.url.as_str()).collect();
    let mut lines = vec![
        String::new(),
        format!("{} nodes: {}", plan.nodes.len(), urls.join("  ")),
        "any of them answers any request; try in another terminal:".to_owned(),
        String::new(),
        format!("  curl -X POST {one}/write -d '{{\"greeting\":\"hello\"}}'"),
        "      write; the answer is the receipt: which nodes have it on disk, how long each took"
            .to_owned(),
        format!("  curl {two}/v1/kv/greeting"),
        "      read it on another node".to_owned(),
        format!("  curl -X PUT '{three}/v1/kv/colour?acks=all' -d blue"),
        "      set one key; the receipt comes when every node has it".to_owned(),
        format!("  curl '{one}/v1/kv?limit=10'"),
        "      list".to_owned(),
        format!("  curl -N '{two}/v1/log?follow=true'"),
        "      follow the log".to_owned(),
        format!("  curl -i '{three}/v1/kv/greeting?consistency=stale'"),
        "      what that node has; Bitacora-Staleness-Ms says how old it may be".to_owned(),
        format!("  bitacora status --url {}", urls.join(",")),
    ];
    if let Some((name, pid)) = leader {
        let then = if restarts { " (it is started again after 3 s)" } else { "" };
        lines.push(format!("  kill -9 {pid}"));
        lines.push(format!("      {name} leads: kill it and watch this terminal{then}"));
    }
    lines.push(String::new());
    lines.push(format!("data and logs: {}; Ctrl-C stops the nodes", plan.dir.display()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::up::plan::Asked;

    #[test]
    fn the_hints_have_this_clusters_urls_and_the_leaders_process() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked { nodes: Some(3), base_port: Some(6000) };
        let plan = Plan::make(dir.path(), asked, Vec::new()).unwrap();
        let text = hints(&plan, Some(("node2", 4711)), true);
        assert!(text.contains("curl -X POST http://127.0.0.1:6000/write -d '{\"greeting\""));
        assert!(text.contains("curl http://127.0.0.1:6001/v1/kv/greeting"));
        assert!(text.contains("kill -9 4711\n      node2 leads"));
    }

    #[test]
    fn the_hints_of_a_single_node_all_point_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked { nodes: Some(1), base_port: Some(6000) };
        let plan = Plan::make(dir.path(), asked, Vec::new()).unwrap();
        assert_eq!(hints(&plan, None, true).matches(":6000").count(), 8);
    }

    #[test]
    fn an_event_is_a_sentence() {
        let back = |behind| sentence(&Event::Back { node: "node1".into(), behind });
        assert_eq!(back(0), "node1 is back and has every entry");
        assert_eq!(back(1), "node1 is back, 1 entry behind");
        assert_eq!(back(40), "node1 is back, 40 entries behind");
    }
}
