"""The first board: is it well, who leads, how fast is a write, who is slow."""

from style import (
    PER_SECOND,
    CLUSTER,
    NODE,
    NODE_COLOURS,
    PEER,
    Board,
    Query,
    board_link,
    colours,
    column,
    dashed,
    failures,
    fixed,
    led_rate,
    led_value,
    matching,
    mean,
    node_link,
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
ACK_BOUNDS = steps("green", (0.05, "orange"), (0.15, "red"))
WRITE_BOUNDS = steps("green", (0.1, "orange"), (0.25, "red"))
RESULTS = colours(
    ok="green",
    rejected="blue",
    invalid="purple",
    not_leader="yellow",
    overloaded="orange",
    no_leader="dark-orange",
    no_quorum="red",
    timeout="dark-red",
    unknown="dark-purple",
    internal="super-light-red",
)
READS = {
    "linearizable": "green",
    "linearizable ok": "green",
    "linearizable not_found": "light-green",
    "linearizable error": "red",
    "stale": "yellow",
    "stale ok": "yellow",
    "stale not_found": "light-yellow",
    "stale error": "dark-red",
}
STATUSES = [
    matching(f"^{first}", color=fixed(colour))
    for first, colour in {"2": "green", "3": "blue", "4": "yellow", "5": "red"}.items()
] + colours(**{"404": "light-yellow", "412": "dark-yellow", "503": "orange", "504": "dark-red"})
OK = ',result="ok"'
NOT_OK = ',result!="ok"'
PHASES = {"queue": "yellow", "log": "orange", "replicate": "blue", "apply": "green", "respond": "purple"}


def painted(bounds):
    """The same bounds for cells, of which only those that are not well are painted."""
    return [dict(bounds[0], color="transparent"), *bounds[1:]]


def board():
    """The board."""
    it = Board(
        "bitacora-overview",
        "bitacora / Overview",
        "Is the cluster well, who leads, how fast is a write, and which follower is slow? The first "
        "screen answers; what is below says why.",
    )
    at_a_glance(it)
    heartbeats(it)
    writes(it)
    reads(it)
    machines(it)
    return it


def at_a_glance(it):
    it.stat(
        "Safe to lose a node now?",
        "A write needs a majority of the nodes: 2 of 3. This counts the nodes that have next to "
        "everything, and answer the leader, beyond that majority. NO means: do not restart or stop "
        "anything now; one more lost node stops all writes. Stopped means: it already is so.",
        [Query('cluster:bitacora_spare_voters:count{cluster="$cluster"}')],
        "none",
        w=5,
        paint="background",
        size=None,
        mappings=words(
            {
                (-100, -1): ("NO, writes are stopped", "dark-red"),
                0: ("NO, 0 spare", "red"),
                1: ("yes, 1 spare", "green"),
                2: ("yes, 2 spare", "green"),
                (3, 100): ("yes, 3 or more spare", "green"),
            }
        ),
        empty="no node answers",
        links=[board_link("bitacora-replication", "Who is missing")],
    )
    it.stat(
        "Leader",
        "The node that orders all writes at the moment; the others follow it. If it fails, the others "
        "elect a new one in less than a second. Two names mean that the election rules are broken.",
        [Query('instance:bitacora_leads:bool{cluster="$cluster"} == 1', "{{instance}}")],
        "none",
        w=3,
        show="name",
        size=None,
        overrides=colours(**NODE_COLOURS),
        empty="nobody",
        links=[board_link("bitacora-replication", "Elections")],
    )
    it.stat(
        "Alerts",
        "Alerts that fire now. Each has a page under docs/runbooks that says what to do first.",
        [Query('count(ALERTS{alertname=~"Bitacora.+",cluster="$cluster",alertstate="firing"}) or vector(0)')],
        "none",
        w=3,
        mappings=words({0: ("none", "green")}),
        thresholds=steps("green", (1, "orange")),
    )
    it.stat(
        "Writes",
        "Writes a second that were acknowledged: on the disks of a majority.",
        [Query(f'sum(rate(bitacora_writes_total{{{CLUSTER},result="ok"}}[$__rate_interval]))')],
        "wps",
        w=3,
        decimals=0,
        empty="no writes",
    )
    it.stat(
        "A write takes",
        "From the request's admission by the leader until its outcome is known, in the last minutes. Half "
        "of the writes are faster than the first number; one in a hundred is slower than the second. Up "
        "to 100 ms is well; above 250 ms look at where a write spends its time.",
        [
            Query(quantile(0.5, "bitacora_write_duration_seconds", CLUSTER, window="5m"), "half of them"),
            Query(quantile(0.99, "bitacora_write_duration_seconds", CLUSTER, window="5m"), "1 in 100"),
        ],
        "s",
        w=4,
        show="value_and_name",
        size=28,
        thresholds=WRITE_BOUNDS,
        empty="no writes",
        links=[traces_link()],
    )
    it.stat(
        "Slowest follower",
        "The follower whose acknowledgements take longest: one in a hundred takes at least this. One slow "
        "follower slows no write as long as another one is fast; it is the first that would be missed.",
        [Query(f"topk(1, {quantile(0.99, ACK, CLUSTER, 'peer', lead=True, window='5m')})", "{{peer}}")],
        "s",
        w=3,
        show="value_and_name",
        size=28,
        thresholds=ACK_BOUNDS,
        empty="no writes",
    )
    it.stat(
        "Failed writes",
        "The share of writes of the last 5 minutes that the cluster failed: no leader, no majority, "
        "overload, no outcome in time. What a client asked wrongly does not count, nor a precondition "
        "that did not hold.",
        [Query('cluster:bitacora_write_errors:ratio_rate5m{cluster="$cluster"}')],
        "percentunit",
        w=3,
        decimals=2,
        thresholds=steps("green", (0.001, "orange"), (0.0144, "red")),
        empty="no writes",
    )

    it.table(
        "Followers, as the leader sees them",
        "A line for each follower, all of the last minute. Acks: acknowledgements a second. Ack time: one in "
        "a hundred takes longer. Lacks: entries that it is not known to have, and behind: the age of the "
        "oldest. Answers: the share of heartbeats that it answers, and round trip: one in a hundred takes "
        "longer; near 50 ms the next one is due. What is painted is not well. Click a name for that node's "
        "own board.",
        [
            Query(led_rate("bitacora_replication_acks_total", only=',result="success"', window="1m")),
            Query(quantile(0.99, ACK, PEER, "peer", lead=True, window="1m")),
            Query(led_value("bitacora_replication_lag_entries")),
            Query(led_value("bitacora_replication_lag_seconds")),
            Query(
                led_rate("bitacora_heartbeat_rtt_seconds_count", window="1m")
                + f" / ({led_rate('bitacora_heartbeats_sent_total', window='1m')} > 0)"
            ),
            Query(quantile(0.99, "bitacora_heartbeat_rtt_seconds", PEER, "peer", lead=True, window="1m")),
        ],
        "short",
        w=13,
        h=7,
        cells="md",
        columns={
            "peer": "Follower",
            "Value #A": "Acks",
            "Value #B": "Ack time",
            "Value #C": "Lacks",
            "Value #D": "Behind",
            "Value #E": "Answers",
            "Value #F": "Round trip",
        },
        overrides=[
            override("Follower", links=node_link()),
            column("Acks", PER_SECOND, decimals=0),
            column("Ack time", "s", painted(ACK_BOUNDS)),
            column("Lacks", "suffix: entries", decimals=0),
            column("Behind", "s", steps("transparent", (1, "orange"), (10, "red"))),
            column(
                "Answers",
                "percentunit",
                steps("red", (0.5, "orange"), (0.95, "transparent")),
                decimals=0,
                max=1,
            ),
            column("Round trip", "s", painted(ACK_BOUNDS)),
        ],
        empty="nobody leads",
    )
    it.graph(
        "Where a write spends its time",
        "The mean write, cut into consecutive phases. queue: until it has its place in the log. log: "
        "until it is on the leader's disk. replicate: until it is on the disks of a majority (nothing if "
        "that came first). apply: until it is in the state. respond: until the outcome is handed over, "
        "including the wait for acks=all. The highest band is what to improve.",
        [
            # One by one: the bands lie in the order of the queries.
            Query(mean("bitacora_write_phase_duration_seconds", f'{CLUSTER},phase="{phase}"', "phase"), phase)
            for phase in PHASES
        ],
        "s",
        w=11,
        h=7,
        stack=True,
        overrides=colours(**PHASES),
        empty="no writes in this time",
        links=[traces_link()],
    )

    it.graph(
        "Acknowledgements",
        "Answers of each follower to the leader's entries, a second. Bars are other answers than success: "
        "conflict, the follower's log differed and is being repaired; higher_vote, it knows a newer "
        "leader; timeout and error, it did not answer in time or at all.",
        [
            Query(
                led_rate("bitacora_replication_acks_total", only=',result="success"'),
                "{{peer}}",
            ),
            Query(
                led_rate("bitacora_replication_acks_total", "peer, result", ',result!="success"') + " > 0",
                "{{peer}} {{result}}",
            ),
        ],
        PER_SECOND,
        h=8,
        overrides=failures(conflict="yellow", higher_vote="light-red", timeout="red", error="dark-red"),
        ceiling=1,
        empty="nobody leads",
    )
    it.graph(
        "Acknowledgement time",
        "From sending entries to a follower until it has them on its disk: half of them, and one in a "
        "hundred. With three nodes a write waits for the faster of the two followers. Dots are single "
        "acknowledgements: click one for its trace.",
        [
            Query(quantile(0.99, ACK, PEER, "peer", lead=True), "{{peer}} 1 in 100", exemplar=True),
            Query(quantile(0.5, ACK, PEER, "peer", lead=True), "{{peer}} half"),
        ],
        "s",
        h=8,
        overrides=second("half"),
        line_at=ACK_BOUNDS,
        empty="no writes in this time",
        links=[traces_link()],
    )
    it.graph(
        "Follower lag",
        "How much of the leader's log each follower is not known to have. Some entries while writes go on "
        "are normal; a line that climbs is a follower that does not keep up; one that falls is catching "
        "up.",
        [Query(led_value("bitacora_replication_lag_entries"), "{{peer}}")],
        "short",
        h=8,
        ceiling=10,
        decimals=0,
        empty="nobody leads",
    )


def heartbeats(it):
    it.row("Heartbeats: do the nodes hear each other?")
    it.graph(
        "Missed, as the leader sees it",
        "Heartbeats a second without a good answer, by follower and reason. timeout: no answer in time; "
        "connect: nobody listens there; http: an answer that is an error; higher_vote: it knows a newer "
        "leader. At 50 ms there are at least 20 heartbeats a second.",
        [
            Query(
                led_rate("bitacora_heartbeat_misses_total", "peer, reason") + " > 0",
                "{{peer}} {{reason}}",
            )
        ],
        PER_SECOND,
        bars=True,
        overrides=[*of_nodes(" connect", "dark-"), *of_nodes(" (http|higher_vote)", "light-")],
        ceiling=1,
        empty="none missed in this time",
    )
    it.graph(
        "Missed, as the followers see it",
        "Intervals a second that passed without a heartbeat from the leader. A follower that misses some "
        "in a row starts an election. Misses on one node only: that node or its network. On all: the "
        "leader.",
        [Query(f"{rate('bitacora_leader_heartbeat_misses_total', NODE, 'instance')} > 0", "{{instance}}")],
        PER_SECOND,
        bars=True,
        ceiling=1,
        empty="none missed in this time",
    )
    it.graph(
        "Round trip of a heartbeat",
        "From a heartbeat to its answer, one in a hundred. Well below the interval (dashed) is well; near "
        "it, heartbeats begin to miss.",
        [
            Query(quantile(0.99, "bitacora_heartbeat_rtt_seconds", PEER, "peer", lead=True), "{{peer}}"),
            Query(f"max(bitacora_config_heartbeat_interval_seconds{{{CLUSTER}}})", "interval"),
        ],
        "s",
        overrides=[dashed("interval")],
        empty="nobody leads",
    )


def writes(it):
    it.row("Writes in detail")
    it.graph(
        "Writes by result",
        "ok is on the disks of a majority. rejected: a precondition did not hold. invalid: the client "
        "asked wrongly. not_leader: sent on. Anything else is a failure of the cluster; timeout and "
        "unknown may have happened all the same.",
        [
            Query(rate("bitacora_writes_total", NODE, "result", OK), "ok"),
            Query(f"{rate('bitacora_writes_total', NODE, 'result', NOT_OK)} > 0", "{{result}}"),
        ],
        "wps",
        w=6,
        stack=True,
        overrides=RESULTS,
        ceiling=1,
        empty="no writes in this time",
    )
    it.graph(
        "Time of a write",
        "Half of them, one in twenty, one in a hundred. Dots are single writes: click one for its trace.",
        [
            Query(quantile(0.99, "bitacora_write_duration_seconds", NODE), "1 in 100", exemplar=True),
            Query(quantile(0.95, "bitacora_write_duration_seconds", NODE), "1 in 20"),
            Query(quantile(0.5, "bitacora_write_duration_seconds", NODE), "half"),
        ],
        "s",
        w=6,
        line_at=WRITE_BOUNDS,
        empty="no writes in this time",
        links=[traces_link()],
    )
    it.graph(
        "Writes in flight",
        "Writes that are proposed and not yet decided, on each node. A node refuses writes above "
        "proposals_max.",
        [Query(f"bitacora_proposals_pending{{{NODE}}}", "{{instance}}")],
        "none",
        w=6,
        decimals=0,
        ceiling=5,
    )
    it.graph(
        "Passed on to the leader",
        "Requests a second that a follower got and passed on to the leader. Bars: the leader did not "
        "answer, or did not lead any more.",
        [
            Query(
                f"{rate('bitacora_forwarded_requests_total', NODE, 'instance', OK)} > 0",
                "{{instance}}",
            ),
            Query(
                f"{rate('bitacora_forwarded_requests_total', NODE, 'instance', NOT_OK)} > 0",
                "{{instance}} error",
            ),
        ],
        "reqps",
        w=6,
        ceiling=1,
        overrides=failures(error="red"),
        empty="none: the clients ask the leader",
    )


def reads(it):
    it.row("Reads and requests")
    it.graph(
        "Reads",
        "A linearizable read asks a majority and sees every write that was answered before; a stale read "
        "takes what the node has. not_found is an answer, not a failure.",
        [
            Query(
                f"{rate('bitacora_reads_total', NODE, 'consistency, result')} > 0",
                "{{consistency}} {{result}}",
            )
        ],
        "rps",
        w=8,
        stack=True,
        overrides=colours(**READS),
        ceiling=1,
        empty="no reads in this time",
    )
    it.graph(
        "Time of a read",
        "One in a hundred takes at least this long. Dots are single reads: click one for its trace.",
        [
            Query(
                quantile(0.99, "bitacora_read_duration_seconds", NODE, "consistency"),
                "{{consistency}}",
                exemplar=True,
            )
        ],
        "s",
        w=8,
        overrides=colours(**READS),
        empty="no reads in this time",
        links=[traces_link()],
    )
    it.graph(
        "Requests by status",
        "All HTTP requests of clients and nodes. 412 is a precondition that did not hold, 503 is refused "
        "and has not happened, 504 may have happened.",
        [Query(f"{rate('bitacora_http_requests_total', NODE, 'code')} > 0", "{{code}}")],
        "reqps",
        w=8,
        stack=True,
        overrides=STATUSES,
        ceiling=1,
    )


def machines(it):
    it.row("Disks and nodes")
    it.graph(
        "Time of fsync",
        "Nothing counts as written before the disk says so. One in a hundred takes at least this long; on "
        "the leader every write waits for it.",
        [Query(quantile(0.99, "bitacora_wal_fsync_duration_seconds", NODE, "instance"), "{{instance}}")],
        "s",
        w=8,
        line_at=steps("green", (0.1, "red")),
        links=[board_link("bitacora-node", "One node's disk")],
    )
    it.graph(
        "Disk space left",
        "Of the disk that holds the data. A node whose disk is full stops.",
        [Query(f"bitacora_disk_free_bytes{{{NODE}}} / bitacora_disk_size_bytes{{{NODE}}}", "{{instance}}")],
        "percentunit",
        w=8,
        low=0,
        high=1,
        line_at=steps("red", (0.1, "orange"), (0.25, "green")),
    )
    it.timeline(
        "Nodes",
        "Whether each node answers Prometheus. A gap is a time without Prometheus.",
        [Query(f"up{{{NODE}}}", "{{instance}}")],
        "none",
        w=8,
        h=8,
        mappings=words({1: ("up", "green"), 0: ("does not answer", "red")}),
    )
