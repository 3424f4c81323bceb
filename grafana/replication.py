"""The second board: elections, the log, what goes to each follower and what it does with it."""

from style import (
    PER_SECOND,
    CLUSTER,
    NODE,
    PEER,
    Board,
    Query,
    buckets,
    colours,
    dashed,
    events,
    failures,
    led,
    led_rate,
    led_value,
    mean,
    of_nodes,
    override,
    quantile,
    rate,
    second,
    steps,
    traces_link,
    words,
)

ACK = "bitacora_replication_ack_duration_seconds"
# The follower comes first: its colour is the line's.
FROM_TO = "{{peer}} (led by {{instance}})"


def board():
    """The board."""
    it = Board(
        "bitacora-replication",
        "bitacora / Replication & consensus",
        "Who led when and why that changed, how the log grows, and what passes between the leader and "
        "each follower.",
    )
    elections(it)
    log(it)
    leader_side(it)
    follower_side(it)
    heartbeats(it)
    members(it)
    return it


def elections(it):
    it.row("Who leads")
    it.timeline(
        "Role of each node",
        "One node leads and the others follow. A candidate asks for votes because it heard no leader; "
        "that lasts less than a second. A gap is a node that did not answer Prometheus.",
        [
            Query(
                " + ".join(
                    f'sum by (instance) (bitacora_raft_state{{{NODE},state="{state}"}} * {number})'
                    for number, state in enumerate(("follower", "leader", "candidate", "learner"), 1)
                ),
                "{{instance}}",
            )
        ],
        "none",
        w=16,
        h=7,
        mappings=words(
            {
                1: ("follower", "dark-blue"),
                2: ("leader", "green"),
                3: ("candidate", "orange"),
                4: ("learner", "purple"),
                0: ("none", "text"),
            }
        ),
    )
    it.stat(
        "Leads since",
        "How long the present leader has been leading. Short again and again: elections do not settle.",
        [
            Query(
                f"clamp_min(time() - {led(f'bitacora_raft_leader_start_timestamp_seconds{{{CLUSTER}}}')}, 0)",
                "{{instance}}",
            )
        ],
        "s",
        w=4,
        h=7,
        decimals=1,
        show="value_and_name",
        empty="nobody leads",
    )
    it.stat(
        "Leader changes, 1 h",
        "How often a node saw another leader than before, in the last hour. A rolling restart of three "
        "nodes makes three.",
        [Query(f"round(max(increase(bitacora_raft_leader_changes_total{{{CLUSTER}}}[1h])))")],
        "none",
        w=4,
        h=7,
        decimals=0,
        thresholds=steps("green", (4, "orange"), (10, "red")),
    )
    it.graph(
        "Term",
        "Every election has a number, the term. A flat line is calm; a step is an election; a slope is "
        "elections that do not settle. Nodes that differ for long do not hear each other.",
        [Query(f"bitacora_raft_term{{{NODE}}}", "{{instance}}")],
        "none",
        w=5,
        decimals=0,
    )
    it.graph(
        "Elections and hand-overs",
        "Elections that a node began, won or (lighter) lost; darker: a leader that gave up, or handed its "
        "leadership over on purpose.",
        [
            Query(
                events("bitacora_raft_elections_total", NODE, "instance, result"),
                "{{instance}} {{result}}",
            ),
            Query(events("bitacora_raft_stepdowns_total", NODE, "instance"), "{{instance}} gave up"),
            Query(
                events("bitacora_raft_leadership_transfers_total", NODE, "instance, result"),
                "{{instance}} handed over, {{result}}",
            ),
        ],
        "none",
        w=8,
        bars=True,
        overrides=[*of_nodes(" lost", "light-"), *of_nodes(" (gave up|handed over.*)", "dark-")],
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )
    it.graph(
        "Votes",
        "Answers of nodes to those who asked for their votes. pre_vote: would you vote for me, asked before "
        "an election so that a node that merely was away disturbs nobody.",
        [
            Query(
                events("bitacora_raft_votes_total", NODE, "kind, result"),
                "{{kind}} {{result}}",
            )
        ],
        "none",
        w=5,
        bars=True,
        overrides=colours(
            **{
                "vote granted": "green",
                "vote rejected": "red",
                "pre_vote granted": "light-green",
                "pre_vote rejected": "light-red",
            }
        ),
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )
    it.graph(
        "Time without a leader",
        "From the last sign of a lost leader to the first of the next one, where that happened; darker: a "
        "node that knows no leader yet. While there is none, writes wait.",
        [
            Query(mean("bitacora_raft_election_duration_seconds", NODE, "instance"), "{{instance}}"),
            Query(f"bitacora_raft_leaderless_seconds{{{NODE}}} > 0", "{{instance}} still"),
        ],
        "s",
        w=6,
        bars=True,
        stack=None,
        overrides=of_nodes(" still", "dark-"),
        empty="there was always one",
    )


def log(it):
    it.row("The log")
    it.graph(
        "Entries applied",
        "Entries a second that reach the state of each node. The lines should lie on each other.",
        [Query(rate("bitacora_applied_entries_total", NODE, "instance"), "{{instance}}")],
        PER_SECOND,
        w=6,
        ceiling=1,
    )
    it.graph(
        "Committed, not applied",
        "Entries that a majority has, as far as this node knows, and that are not in its state yet. On the "
        "leader writes wait for that; elsewhere stale reads are old.",
        [
            Query(
                # The two are not read at one moment.
                f"clamp_min(bitacora_raft_commit_index{{{NODE}}} - bitacora_raft_applied_index{{{NODE}}}, 0)",
                "{{instance}}",
            )
        ],
        "short",
        w=6,
        ceiling=10,
        decimals=0,
        line_at=steps("green", (5000, "red")),
    )
    it.graph(
        "Not committed yet",
        "Entries in the leader's log that no majority has. A climbing line: the followers do not answer.",
        [
            Query(
                led(f"bitacora_raft_last_log_index{{{CLUSTER}}} - bitacora_raft_commit_index{{{CLUSTER}}}"),
                "{{instance}}",
            )
        ],
        "short",
        w=6,
        ceiling=10,
        decimals=0,
        empty="nobody leads",
    )
    it.graph(
        "Until a majority has it",
        "From an entry's place in the leader's log until it is on the disks of a majority: half of them, "
        "and one in a hundred. It is the part of a write that the followers decide.",
        [
            Query(quantile(0.99, "bitacora_replication_quorum_duration_seconds", NODE), "1 in 100"),
            Query(quantile(0.5, "bitacora_replication_quorum_duration_seconds", NODE), "half"),
        ],
        "s",
        w=6,
        empty="no writes in this time",
    )


def leader_side(it):
    it.row("From the leader to each follower")
    it.heatmap(
        "Acknowledgement times",
        "How many acknowledgements took how long. Two bands are two followers of different speed. Dots "
        "are single ones: click one for its trace.",
        [Query(buckets(ACK, CLUSTER), "{{le}}", exemplar=True)],
        "s",
        w=12,
        links=[traces_link()],
    )
    it.graph(
        "Acknowledgements by result",
        "success: on the follower's disk. conflict: its log differed and is being repaired. higher_vote: "
        "it knows a newer leader. timeout, error: no answer. A former leader that is cut off shows with "
        "its own name.",
        [
            Query(
                f"{rate('bitacora_replication_acks_total', CLUSTER, 'instance, peer, result')} > 0",
                FROM_TO + " {{result}}",
            )
        ],
        PER_SECOND,
        w=12,
        h=9,
        legend="table",
        overrides=failures(conflict="yellow", higher_vote="light-red", timeout="red", error="dark-red"),
        ceiling=1,
        empty="no writes in this time",
    )
    it.graph(
        "Lag in time",
        "The age of the oldest entry that a follower is not known to have. Above 10 s it does not count "
        "as a spare.",
        [Query(led_value("bitacora_replication_lag_seconds"), "{{peer}}")],
        "s",
        w=6,
        ceiling=1,
        line_at=steps("green", (10, "red")),
        empty="nobody leads",
    )
    it.graph(
        "Lag in bytes",
        "What is still to be sent to a follower, or not acknowledged yet.",
        [Query(led_value("bitacora_replication_lag_bytes"), "{{peer}}")],
        "bytes",
        w=6,
        ceiling=1024,
        empty="nobody leads",
    )
    it.graph(
        "Silence",
        "How long ago a follower acknowledged entries, while it lacks some. Without writes there is "
        "nothing to acknowledge, and no line.",
        [
            Query(
                "max by (peer) ("
                + led(
                    f"clamp_min(timestamp(bitacora_replication_last_ack_timestamp_seconds{{{PEER}}})"
                    f" - (bitacora_replication_last_ack_timestamp_seconds{{{PEER}}} > 0), 0)"
                    f" and bitacora_replication_lag_entries{{{PEER}}} > 0"
                )
                + ")",
                "{{peer}}",
            )
        ],
        "s",
        w=6,
        ceiling=1,
        line_at=steps("green", (10, "red")),
        empty="nothing is owed",
    )
    it.graph(
        "Requests under way",
        "Messages with entries that a follower has not answered yet, at the moment of each scrape.",
        [Query(led_value("bitacora_replication_inflight_requests"), "{{peer}}")],
        "none",
        w=6,
        ceiling=1,
        decimals=0,
        empty="nobody leads",
    )
    it.graph(
        "Entries sent",
        "Entries a second, per follower. More than the writes: something is sent twice, or caught up.",
        [Query(led_rate("bitacora_replication_entries_total"), "{{peer}}")],
        PER_SECOND,
        w=8,
        ceiling=1,
        empty="nobody leads",
    )
    it.graph(
        "Bytes sent",
        "Of entries, per follower, without HTTP's own.",
        [Query(led_rate("bitacora_replication_bytes_total"), "{{peer}}")],
        "Bps",
        w=8,
        ceiling=1024,
        empty="nobody leads",
    )
    it.graph(
        "Entries kept for followers",
        "How many entries a follower may be behind and still get them from the log. Further behind, it "
        "gets a snapshot. Beside it, how far each one is behind.",
        [
            Query(
                "max("
                + led(
                    f"bitacora_raft_last_log_index{{{CLUSTER}}} - bitacora_raft_first_log_index{{{CLUSTER}}}"
                )
                + ")",
                "kept",
            ),
            Query(
                "max by (peer) ("
                + led(
                    f"bitacora_raft_last_log_index{{{CLUSTER}}} - on (cluster, job, instance) group_right ()"
                    f" bitacora_replication_match_index{{{PEER}}}"
                )
                + ")",
                "{{peer}} is behind",
            ),
        ],
        "short",
        w=8,
        decimals=0,
        empty="nobody leads",
    )


def follower_side(it):
    it.row("What followers do with it")
    it.graph(
        "Received, by result",
        "Requests with entries that each node answered, and how. The counterpart of what the leader "
        "counts: where the two differ, answers get lost on the way.",
        [
            Query(
                f"{rate('bitacora_append_requests_total', NODE, 'instance, result')} > 0",
                "{{instance}} {{result}}",
            )
        ],
        PER_SECOND,
        w=8,
        overrides=failures(conflict="yellow", higher_vote="light-red", error="dark-red"),
        ceiling=1,
        empty="nothing received",
    )
    it.graph(
        "Time to handle",
        "From a request with entries to its answer, on the follower: one in a hundred. The "
        "acknowledgement time without the network. If this is short and acknowledgements are slow, the "
        "network is.",
        [Query(quantile(0.99, "bitacora_append_handler_duration_seconds", NODE, "instance"), "{{instance}}")],
        "s",
        w=8,
        empty="nothing received",
    )
    it.graph(
        "Logs cut back",
        "Times that a node removed entries from its log's end because the leader has others. That happens "
        "after a change of leaders, and only to entries that no majority had.",
        [Query(events("bitacora_log_truncations_total", NODE, "instance"), "{{instance}}")],
        "none",
        w=8,
        bars=True,
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )


def heartbeats(it):
    it.row("Heartbeats")
    it.graph(
        "Sent and heard",
        "Heartbeats a second that leaders send to each follower, and that each follower hears. They "
        "should be equal, and one an interval at least: 20 a second at 50 ms.",
        [
            Query(f"{rate('bitacora_heartbeats_sent_total', CLUSTER, 'instance, peer')} > 0", FROM_TO),
            Query(
                f"{rate('bitacora_leader_heartbeats_received_total', NODE, 'instance')} > 0",
                "{{instance}} hears",
            ),
        ],
        PER_SECOND,
        w=8,
        overrides=second("hears"),
        ceiling=1,
    )
    it.graph(
        "Silence between heartbeats",
        "The time between two heartbeats as a follower hears them: one in a hundred. Above the dashed "
        "line, the shortest election timeout, it starts an election.",
        [
            Query(quantile(0.99, "bitacora_leader_heartbeat_gap_seconds", NODE, "instance"), "{{instance}}"),
            Query(f"min(bitacora_config_election_timeout_min_seconds{{{CLUSTER}}})", "election timeout"),
        ],
        "s",
        w=8,
        overrides=[dashed("election timeout")],
    )
    it.graph(
        "Last heartbeat heard",
        "How long ago each follower heard its leader. On the leader there is none.",
        [
            Query(
                f"clamp_min(timestamp(bitacora_leader_last_heartbeat_timestamp_seconds{{{NODE}}})"
                f" - (bitacora_leader_last_heartbeat_timestamp_seconds{{{NODE}}} > 0), 0)"
                f" unless on (cluster, job, instance) bitacora_raft_is_leader{{{CLUSTER}}} == 1",
                "{{instance}}",
            ),
            Query(f"max(bitacora_config_election_timeout_max_seconds{{{CLUSTER}}})", "election timeout"),
        ],
        "s",
        w=8,
        overrides=[dashed("election timeout")],
    )
    it.graph(
        "Round trip, by leader",
        "From a heartbeat to its answer: half of them, and one in a hundred.",
        [
            Query(
                quantile(0.99, "bitacora_heartbeat_rtt_seconds", CLUSTER, "instance, peer"),
                FROM_TO + " 1 in 100",
            ),
            Query(
                quantile(0.5, "bitacora_heartbeat_rtt_seconds", CLUSTER, "instance, peer"), FROM_TO + " half"
            ),
        ],
        "s",
        w=12,
        overrides=second("half"),
        legend="table",
        empty="nobody leads",
    )
    it.graph(
        "Missed, by leader; and sent late",
        "Heartbeats a second without a good answer, as each leader counts them; and heartbeats that the "
        "leader itself sent more than an interval late, for which no follower can be blamed.",
        [
            Query(
                f"{rate('bitacora_heartbeat_misses_total', CLUSTER, 'instance, peer, reason')} > 0",
                FROM_TO + " {{reason}}",
            ),
            Query(
                f"{rate('bitacora_heartbeat_send_delays_total', NODE, 'instance')} > 0",
                "{{instance}} late itself",
            ),
        ],
        PER_SECOND,
        w=12,
        bars=True,
        legend="table",
        overrides=[
            *of_nodes(".* connect", "dark-"),
            *of_nodes(".* (http|higher_vote)", "light-"),
            *of_nodes(" late itself", "super-light-"),
        ],
        ceiling=1,
        empty="none missed in this time",
    )


def members(it):
    it.row("Members and snapshots")
    it.graph(
        "Members",
        "Nodes that vote, nodes that only learn, and how many voters are a majority. Where the highest "
        "and the lowest differ, a node has not heard of a change.",
        [
            Query(f"max by (role) (bitacora_cluster_members{{{CLUSTER}}})", "{{role}}"),
            Query(f"max(bitacora_cluster_quorum_size{{{CLUSTER}}})", "majority"),
        ],
        "none",
        w=6,
        decimals=0,
        overrides=[dashed("majority")],
    )
    it.graph(
        "Messages refused",
        "Messages between nodes that were for another cluster or node, or not understood. malformed also "
        "counts what people try with curl.",
        [
            Query(
                events("bitacora_peer_messages_refused_total", NODE, "instance, reason"),
                "{{instance}} {{reason}}",
            )
        ],
        "none",
        w=6,
        bars=True,
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )
    it.graph(
        "Snapshots",
        "Snapshots that were made (create), sent to a follower (send) or taken over from the leader "
        "(install).",
        [
            Query(
                events("bitacora_snapshots_total", NODE, "instance, op, result"),
                "{{instance}} {{op}} {{result}}",
            )
        ],
        "none",
        w=6,
        bars=True,
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )
    it.graph(
        "Time of a snapshot",
        "The mean of each kind, in the hour before.",
        [
            Query(
                f"sum by (op) (increase(bitacora_snapshot_duration_seconds_sum{{{NODE}}}[1h]))"
                f" / (sum by (op) (increase(bitacora_snapshot_duration_seconds_count{{{NODE}}}[1h])) > 0)",
                "{{op}}",
            )
        ],
        "s",
        w=6,
        empty="none in the hour before",
    )
    it.table(
        "Newest snapshots",
        "A snapshot is the whole state as one file: a restart reads it and the log after it, and the log "
        "before it may go. No line: none was made yet, which is well as long as the log is short.",
        [
            Query(f"max by (instance) (time() - (bitacora_snapshot_timestamp_seconds{{{NODE}}} > 0))"),
            Query(f"max by (instance) (bitacora_snapshot_size_bytes{{{NODE}}})"),
            Query(f"max by (instance) (bitacora_raft_snapshot_index{{{NODE}}})"),
            Query(
                f"max by (instance) (bitacora_raft_last_log_index{{{NODE}}} - bitacora_raft_snapshot_index{{{NODE}}})"
            ),
        ],
        "none",
        w=11,
        h=7,
        columns={
            "instance": "Node",
            "Value #A": "Age",
            "Value #B": "Size",
            "Value #C": "Up to index",
            "Value #D": "Entries since",
        },
        overrides=[
            override("Age", unit="s", decimals=1),
            override("Size", unit="bytes"),
        ],
    )
    it.table(
        "Who is who",
        "The cluster that each node belongs to. All ids must be equal; a node with another id belongs to "
        "another cluster.",
        [Query(f"max by (instance, node_id, cluster_id) (bitacora_cluster_info{{{NODE}}})")],
        "none",
        w=9,
        h=7,
        columns={"instance": "Node", "node_id": "Calls itself", "cluster_id": "Cluster"},
        hide=("Value",),
        overrides=[override("Node", custom__width=90), override("Calls itself", custom__width=110)],
    )
    it.graph(
        "Snapshot bytes sent",
        "To followers that were too far behind for the log.",
        [Query(f"{rate('bitacora_snapshot_sent_bytes_total', NODE, 'instance')} > 0", "{{instance}}")],
        "Bps",
        w=4,
        h=7,
        ceiling=1024,
        empty="none in this time",
    )
