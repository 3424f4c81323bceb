"""The third board: one node's log on disk, state, requests and process."""

from style import (
    NODE,
    PER_SECOND,
    Board,
    Query,
    buckets,
    dashed,
    events,
    failures,
    matching,
    of_nodes,
    override,
    quantile,
    rate,
    second,
    fixed,
    steps,
    traces_link,
    words,
)

FSYNC = "bitacora_wal_fsync_duration_seconds"


def board():
    """The board."""
    it = Board(
        "bitacora-node",
        "bitacora / Node",
        "What one node does with its disk, its processor and its clients. Choose it above; with all of "
        "them, compare.",
    )
    now(it)
    log(it)
    state(it)
    requests(it)
    process(it)
    return it


def now(it):
    it.row("Now")
    it.timeline(
        "Ready to serve",
        "leads and follows serve; a node without a leader does not. A gap is a node that did not answer "
        "Prometheus.",
        [
            Query(
                # A leader that is cut off leads nobody.
                f"bitacora_raft_has_leader{{{NODE}}}"
                f" * on (cluster, job, instance) (1 + bitacora_raft_is_leader{{{NODE}}})",
                "{{instance}}",
            )
        ],
        "none",
        w=10,
        h=6,
        mappings=words({0: ("no leader", "red"), 1: ("follows", "dark-blue"), 2: ("leads", "green")}),
    )
    it.table(
        "Programs",
        "Which build runs where, and since when. More than one version for long: a rollout got stuck. One "
        "that runs for less time than the others was restarted.",
        [
            Query(f"max by (instance, version, revision, rustc, profile) (bitacora_build_info{{{NODE}}})"),
            Query(f"max by (instance) (time() - process_start_time_seconds{{{NODE}}})"),
        ],
        "none",
        w=14,
        h=6,
        columns={
            "instance": "Node",
            "Value #B": "Runs for",
            "version": "Version",
            "revision": "Revision",
            "rustc": "Compiler",
            "profile": "Profile",
        },
        hide=("Value #A",),
        overrides=[override("Runs for", unit="s", decimals=1)],
    )


def log(it):
    it.row("The log on disk")
    it.heatmap(
        "Times of fsync",
        "How many syncs took how long. An entry counts as written only after its sync. A second, slower "
        "band is usually somebody else on the same disk.",
        [Query(buckets(FSYNC, NODE), "{{le}}")],
        "s",
        w=12,
    )
    it.graph(
        "fsync and write",
        "The sync, and the write into the memory of the system before it: one in a hundred. Slow writes "
        "with fast syncs mean too little memory.",
        [
            Query(quantile(0.99, FSYNC, NODE, "instance"), "{{instance}} fsync"),
            Query(
                quantile(0.99, "bitacora_wal_append_duration_seconds", NODE, "instance"), "{{instance}} write"
            ),
        ],
        "s",
        w=12,
        h=9,
        legend="table",
        overrides=second("write"),
        line_at=steps("green", (0.1, "red")),
    )
    it.graph(
        "Entries in a sync",
        "How many entries share one sync: half of the syncs, and one in a hundred. The busier the node, "
        "the more; that is what keeps writes fast under load.",
        [
            Query(quantile(0.99, "bitacora_wal_batch_entries", NODE, "instance"), "{{instance}} 1 in 100"),
            Query(quantile(0.5, "bitacora_wal_batch_entries", NODE, "instance"), "{{instance}} half"),
        ],
        "none",
        w=8,
        overrides=second("half"),
    )
    it.graph(
        "Bytes to the log",
        "Bytes a second, entries and everything around them.",
        [Query(rate("bitacora_wal_append_bytes_total", NODE, "instance"), "{{instance}}")],
        "Bps",
        w=8,
        ceiling=1024,
    )
    it.graph(
        "Entries to the log",
        "Entries a second. Followers write the same ones as the leader.",
        [Query(rate("bitacora_wal_append_entries_total", NODE, "instance"), "{{instance}}")],
        PER_SECOND,
        w=8,
        ceiling=1,
    )
    it.graph(
        "Files of the log",
        "How many there are. A file goes when all of its entries are in a snapshot and no follower may "
        "want them.",
        [Query(f"bitacora_wal_segments{{{NODE}}}", "{{instance}}")],
        "none",
        w=8,
        decimals=0,
        ceiling=1,
    )
    it.graph(
        "Files filled and retired",
        "Files of the log that were filled and followed by a new one; lighter: no longer needed, and "
        "used again or removed.",
        [
            Query(events("bitacora_wal_segments_rolled_total", NODE, "instance"), "{{instance}} filled"),
            Query(events("bitacora_wal_segments_retired_total", NODE, "instance"), "{{instance}} retired"),
        ],
        "none",
        w=8,
        bars=True,
        overrides=of_nodes(" retired", "light-"),
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )
    it.graph(
        "Errors of the disk",
        "Writes and syncs that failed. The first one stops the node: what is on that disk must be read "
        "again before it is trusted.",
        [Query(f"bitacora_wal_errors_total{{{NODE}}} > 0", "{{instance}}")],
        "none",
        w=8,
        decimals=0,
        ceiling=1,
        line_at=steps("green", (1, "red")),
        empty="none: all is well",
    )
    it.table(
        "Last start",
        "What opening the log took and found. A torn end is the unfinished write of a crash: it was cut "
        "off, and had been acknowledged to nobody.",
        [
            Query(f"max by (instance) (bitacora_wal_recovery_duration_seconds{{{NODE}}})"),
            Query(f"max by (instance) (bitacora_wal_recovered_entries{{{NODE}}})"),
            Query(f"max by (instance) (bitacora_wal_torn_tail{{{NODE}}})"),
        ],
        "none",
        w=8,
        h=8,
        columns={"instance": "Node", "Value #A": "Took", "Value #B": "Entries", "Value #C": "Torn end"},
        overrides=[
            override("Took", unit="s"),
            override("Torn end", mappings=words({0: ("no", "green"), 1: ("cut", "orange")})),
        ],
    )
    it.graph(
        "Disk space",
        "Left on the disk that holds the data. A node whose disk is full stops.",
        [
            Query(f"bitacora_disk_free_bytes{{{NODE}}}", "{{instance}}"),
            Query(f"max(bitacora_disk_size_bytes{{{NODE}}})", "size of the largest"),
        ],
        "bytes",
        w=8,
        overrides=[dashed("size of the largest")],
    )
    it.graph(
        "Used by bitacora",
        "Bytes of the log's files and of the snapshots.",
        [Query(f"bitacora_storage_size_bytes{{{NODE}}}", "{{instance}} {{component}}")],
        "bytes",
        w=8,
        overrides=second("snapshots"),
        ceiling=1048576,
    )


def state(it):
    it.row("The state")
    it.graph(
        "Time to apply",
        "One batch of committed entries, put into the state: one in a hundred.",
        [Query(quantile(0.99, "bitacora_apply_duration_seconds", NODE, "instance"), "{{instance}}")],
        "s",
        w=8,
        empty="nothing applied in this time",
    )
    it.graph(
        "Keys",
        "Keys in the state. Equal on all nodes, but for what is on its way.",
        [Query(f"bitacora_keys{{{NODE}}}", "{{instance}}")],
        "short",
        w=8,
        decimals=0,
        ceiling=1,
    )
    it.graph(
        "Bytes of keys and values",
        "What the state holds, without what the program needs around it. It is all in memory.",
        [Query(f"bitacora_key_value_bytes{{{NODE}}}", "{{instance}}")],
        "bytes",
        w=8,
        ceiling=1024,
    )
    it.graph(
        "Readers of the log",
        "Clients that follow the log now.",
        [Query(f"bitacora_log_tails{{{NODE}}}", "{{instance}}")],
        "none",
        w=12,
        h=7,
        decimals=0,
        ceiling=1,
    )
    it.graph(
        "Entries read from the log",
        "Entries a second that were given to clients, those that follow included.",
        [Query(f"{rate('bitacora_log_entries_served_total', NODE, 'instance')} > 0", "{{instance}}")],
        PER_SECOND,
        w=12,
        h=7,
        ceiling=1,
        empty="nobody reads the log",
    )


def requests(it):
    it.row("Requests")
    it.graph(
        "Requests by route",
        "A second, without what nodes ask each other.",
        [
            Query(
                rate(
                    "bitacora_http_requests_total",
                    NODE,
                    "method, route",
                    ',route!~"/replicate|/replicar|/vote|/pre-vote|/snapshot|/transfer-leader|/found"',
                )
                + " > 0",
                "{{method}} {{route}}",
            )
        ],
        "reqps",
        w=12,
        h=9,
        legend="table",
        ceiling=1,
    )
    it.graph(
        "Time of requests by route",
        "From a request's head to its answer's head: one in a hundred. Dots are single requests: click "
        "one for its trace.",
        [
            Query(
                quantile(0.99, "bitacora_http_request_duration_seconds", NODE, "method, route"),
                "{{method}} {{route}}",
                exemplar=True,
            )
        ],
        "s",
        w=12,
        h=9,
        legend="table",
        links=[traces_link()],
    )
    it.graph(
        "Connections and requests now",
        "Open connections of clients and nodes, and requests being answered.",
        [
            Query(f"bitacora_http_connections{{{NODE}}}", "{{instance}} connections"),
            Query(f"bitacora_http_requests_in_flight{{{NODE}}}", "{{instance}} requests"),
        ],
        "none",
        w=8,
        overrides=second("requests"),
        decimals=0,
        ceiling=1,
    )
    it.graph(
        "Bytes on the wire",
        "Received and sent, by clients and nodes together.",
        [
            Query(rate("bitacora_http_received_bytes_total", NODE, "instance"), "{{instance}} received"),
            Query(rate("bitacora_http_sent_bytes_total", NODE, "instance"), "{{instance}} sent"),
        ],
        "Bps",
        w=8,
        overrides=second("sent"),
        ceiling=1024,
    )
    it.graph(
        "What a read waits for",
        "barrier: asking a majority whether this node still leads, for linearizable reads. stale by: how "
        "old what stale reads got may have been. One in a hundred.",
        [
            Query(
                quantile(0.99, "bitacora_read_barrier_duration_seconds", NODE, "instance"),
                "{{instance}} barrier",
            ),
            Query(
                quantile(0.99, "bitacora_read_staleness_seconds", NODE, "instance"), "{{instance}} stale by"
            ),
        ],
        "s",
        w=8,
        overrides=second("stale by"),
        empty="no reads in this time",
    )
    it.graph(
        "Bytes of waiting writes",
        "Of writes that are proposed and not yet decided.",
        [Query(f"bitacora_proposals_pending_bytes{{{NODE}}}", "{{instance}}")],
        "bytes",
        w=12,
        h=7,
        ceiling=1024,
    )
    it.graph(
        "Bytes of acknowledged writes",
        "A second, on the node that leads.",
        [Query(f"{rate('bitacora_write_bytes_total', NODE, 'instance')} > 0", "{{instance}}")],
        "Bps",
        w=12,
        h=7,
        ceiling=1024,
        empty="no writes in this time",
    )


def process(it):
    it.row("The process")
    it.graph(
        "Processor",
        "Processors in use: 1 is one of them, fully.",
        [Query(f"rate(process_cpu_seconds_total{{{NODE}}}[$__rate_interval])", "{{instance}}")],
        "none",
        w=8,
        decimals=2,
        ceiling=0.2,
    )
    it.graph(
        "Memory",
        "What the process has in RAM.",
        [Query(f"process_resident_memory_bytes{{{NODE}}}", "{{instance}}")],
        "bytes",
        w=8,
    )
    it.graph(
        "Address space",
        "What the process has reserved. Most of it is never used, and costs nothing.",
        [Query(f"process_virtual_memory_bytes{{{NODE}}}", "{{instance}}")],
        "bytes",
        w=8,
    )
    it.graph(
        "File descriptors",
        "In use, of those that the process may have. Without any left it takes no connections.",
        [Query(f"process_open_fds{{{NODE}}} / process_max_fds{{{NODE}}}", "{{instance}}")],
        "percentunit",
        w=8,
        low=0,
        high=1,
        line_at=steps("green", (0.8, "red")),
    )
    it.graph(
        "Threads",
        "Of the process. One serves, one writes the log, some do what would hold up the others.",
        [Query(f"process_threads{{{NODE}}}", "{{instance}}")],
        "none",
        w=8,
        decimals=0,
    )
    it.graph(
        "Tasks",
        "What shares the thread that serves: connections, requests, followers. A line that climbs for "
        "hours is a leak.",
        [Query(f"bitacora_runtime_alive_tasks{{{NODE}}}", "{{instance}}")],
        "none",
        w=8,
        decimals=0,
    )
    it.graph(
        "Late timers",
        "How much later than asked a timer of 10 ms fires: one in a hundred. Above the heartbeat interval "
        "of 50 ms this node loses its leadership or starts elections; the usual cause is a processor that "
        "is shared or throttled.",
        [Query(quantile(0.99, "bitacora_runtime_loop_lag_seconds", NODE, "instance"), "{{instance}}")],
        "s",
        w=8,
        line_at=steps("green", (0.1, "red")),
    )
    it.graph(
        "Lines in its log",
        "Warnings and errors. The lines themselves are on the node's standard error.",
        [
            Query(
                events("bitacora_log_events_total", NODE, "instance, level", ',level=~"warn|error"'),
                "{{instance}} {{level}}",
            )
        ],
        "none",
        w=8,
        bars=True,
        overrides=[
            matching(f"^{node}.* {level}$", color=fixed(shade + colour))
            for level, colour in (("warn", "orange"), ("error", "red"))
            for node, shade in (("", ""), ("node1", "light-"), ("node3", "dark-"))
        ],
        decimals=0,
        ceiling=1,
        empty="none in this time",
    )
    it.graph(
        "Telling about itself",
        "Spans a second that went to the trace collector; and lines and spans that were lost because "
        "their reader was too slow.",
        [
            Query(
                f"{rate('bitacora_trace_spans_exported_total', NODE, 'instance')} > 0", "{{instance}} spans"
            ),
            Query(
                f"{rate('bitacora_trace_spans_dropped_total', NODE, 'instance')} > 0",
                "{{instance}} spans lost",
            ),
            Query(
                f"{rate('bitacora_log_lines_dropped_total', NODE, 'instance')} > 0", "{{instance}} lines lost"
            ),
        ],
        PER_SECOND,
        w=8,
        overrides=failures(lost="red"),
        ceiling=1,
        empty="no traces are sent, nothing is lost",
    )
