"""How every panel looks, and nothing about what any of them shows.

The boards are written in terms of this file, so that a legend, a colour or a unit is changed in one place.
Classic dashboard JSON: Grafana 10 to 13 read it from files.
"""

import urllib.parse

PROMETHEUS = {"type": "prometheus", "uid": "${datasource}"}
JAEGER_UID = "jaeger"
SERVICE = "bitacora"  # the name of the service in traces
TAG = "bitacora"
COLUMNS = 24
SCHEMA_VERSION = 42
PER_SECOND = "suffix:/s"
# One colour for a node on every panel, and none that means well or unwell. Nodes with other names get theirs
# from the palette.
NODE_COLOURS = {"node1": "blue", "node2": "yellow", "node3": "purple"}
# Of all writes or reads together: the slowest is the strongest.
QUANTILE_COLOURS = {"1 in 100": "green", "1 in 20": "light-green", "half": "super-light-green"}
# Half a minute without a write is drawn as a line: a quantile has no points where nothing happened.
QUIET_MILLISECONDS = 30_000

# Selectors. `instance` is a node's name, and so is `peer`.
CLUSTER = 'job="bitacora",cluster="$cluster"'
NODE = CLUSTER + ',instance=~"$instance"'
PEER = CLUSTER + ',peer=~"$instance"'

# Only what the present leader says: a former one that was cut off goes on saying things.
_LED = 'and on (cluster, job, instance) instance:bitacora_leads:bool{cluster="$cluster"}'

RATE = "$__rate_interval"


# --- expressions ---------------------------------------------------------------------------------


def led(expr):
    """What `expr` says on the node that leads."""
    return f"({expr} {_LED})"


def rate(metric, selector, by, only=""):
    """Events a second of a counter."""
    return f"sum by ({by}) (rate({metric}{{{selector}{only}}}[{RATE}]))"


def led_rate(metric, by="peer", only="", window=RATE):
    """Events a second about each follower, as the leader counts them."""
    return f"sum by ({by}) ({led(f'rate({metric}{{{PEER}{only}}}[{window}])')})"


def led_value(metric):
    """What the leader says of each follower."""
    return f"max by (peer) ({led(f'{metric}{{{PEER}}}')})"


def events(metric, selector, by, only=""):
    """A rare counter's events around each point; nothing where there were none."""
    return f"round(sum by ({by}) (increase({metric}{{{selector}{only}}}[{RATE}]))) > 0"


def quantile(q, metric, selector, by="", lead=False, window=RATE):
    """A quantile; nothing, rather than NaN, where nothing was observed."""
    inner = f"rate({metric}_bucket{{{selector}}}[{window}])"
    inner = led(inner) if lead else inner
    groups = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({groups}) ({inner})) >= 0"


def mean(metric, selector, by, window=RATE):
    """A histogram's mean; nothing where nothing was observed."""
    total, count = (
        f"sum by ({by}) (rate({metric}_{part}{{{selector}}}[{window}]))" for part in ("sum", "count")
    )
    return f"{total} / ({count} > 0)"


def buckets(metric, selector, lead=False):
    """A histogram as a heatmap wants it."""
    inner = f"increase({metric}_bucket{{{selector}}}[{RATE}])"
    return f"sum by (le) ({led(inner) if lead else inner})"


# --- queries, thresholds, mappings, links ---------------------------------------------------------


class Query:
    """One expression of a panel, and what its series are called."""

    def __init__(self, expr, legend="__auto", exemplar=False):
        self.expr, self.legend, self.exemplar = expr, legend, exemplar


def steps(base, *bounds):
    """Colours: `base`, and from each bound on another."""
    return [{"color": base, "value": None}] + [{"color": colour, "value": at} for at, colour in bounds]


def words(mapping):
    """Values with words and colours of their own: {value or (from, to): (text, colour)}."""
    mappings, single = [], {}
    for index, (value, (text, colour)) in enumerate(mapping.items()):
        result = {"text": text, "color": colour, "index": index}
        if isinstance(value, tuple):
            mappings.append(
                {"type": "range", "options": {"from": value[0], "to": value[1], "result": result}}
            )
        else:
            single[str(value)] = result
    return ([{"type": "value", "options": single}] if single else []) + mappings


def override(name, **properties):
    """Settings of one series or column; `__` in a property's name stands for a dot."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def matching(pattern, **properties):
    """Settings of every series whose name matches."""
    one = override(f"/{pattern}/", **properties)
    one["matcher"]["id"] = "byRegexp"
    return one


def fixed(colour):
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": colour}


def of_nodes(after="", shade=""):
    """The colour of its node for every series whose name begins with one; `shade` like "dark-"."""
    return [
        matching(rf"^{node}\b{after}", color=fixed(shade + colour)) for node, colour in NODE_COLOURS.items()
    ]


def second(words):
    """What a node shows beside its main line, told by words in its name: lighter, and dashed."""
    return [
        *of_nodes(f".*({words})", "light-"),
        matching(f"({words})", custom__lineStyle={"fill": "dash", "dash": [4, 4]}, custom__lineWidth=1),
    ]


def failures(**of):
    """Bars in a colour of their own for the series that end with such a word."""
    return [
        matching(
            f"\\b{word}$",
            color=fixed(colour),
            custom__drawStyle="bars",
            custom__fillOpacity=80,
            custom__lineWidth=0,
        )
        for word, colour in of.items()
    ]


def column(name, unit, bounds=None, **more):
    """One column of a table; with bounds its cells are painted. A cell without a value says so, unpainted."""
    properties = {"unit": unit, **more}
    nothing = {"type": "special", "options": {"match": "null", "result": {"text": "–", "index": 0}}}
    if bounds:
        properties["thresholds"] = {"mode": "absolute", "steps": bounds}
        properties["custom__cellOptions"] = {"type": "color-background", "mode": "basic"}
        nothing["options"]["result"]["color"] = "transparent"
    properties.setdefault("mappings", [nothing])
    return override(name, **properties)


def dashed(name):
    """A series that is a line to compare with, not a measurement."""
    return override(
        name,
        color=fixed("text"),
        custom__fillOpacity=0,
        custom__showPoints="never",
        custom__lineWidth=1,
        custom__lineStyle={"fill": "dash", "dash": [8, 8]},
    )


def colours(**of):
    """Fixed colours for series by name."""
    return [override(name, color=fixed(colour)) for name, colour in of.items()]


def _link(title, url, tooltip, kind="link", **more):
    return {
        "title": title,
        "type": kind,
        "url": url,
        "tooltip": tooltip,
        "icon": "external link",
        "tags": [],
        "asDropdown": False,
        "targetBlank": False,
        "includeVars": False,
        "keepTime": False,
        **more,
    }


def board_link(uid, title, tooltip=""):
    """To another board, with the same variables and time."""
    return _link(title, f"/d/{uid}", tooltip, includeVars=True, keepTime=True)


def node_link():
    """From a cell with a node's name to that node's board."""
    return [
        {
            "title": "${__value.raw} on its own board",
            "targetBlank": False,
            "url": "/d/bitacora-node?var-datasource=${datasource:queryparam}&var-cluster=${cluster}"
            "&var-instance=${__value.raw}&${__url_time_range}",
        }
    ]


def traces_link(title="Traces of this time"):
    """To the traces of the shown time, in Explore."""
    pane = (
        '{"traces":{"datasource":"%s","queries":[{"refId":"A","datasource":{"type":"jaeger","uid":"%s"},'
        '"queryType":"search","service":"%s","limit":50}],"range":{"from":"${__from}","to":"${__to}"}}}'
        % (JAEGER_UID, JAEGER_UID, SERVICE)
    )
    # Grafana fills in ${…}: these must not be percent-encoded.
    url = "/explore?schemaVersion=1&orgId=1&panes=" + urllib.parse.quote(pane, safe="${}_:,")
    return _link(title, url, "Where each of the slow ones spent its time", targetBlank=True)


# --- panels ---------------------------------------------------------------------------------------


class Board:
    """One dashboard; panels are laid out from left to right, in rows of equal height."""

    def __init__(self, uid, title, description):
        self.uid, self.title, self.description = uid, title, description
        self.panels, self._x, self._y, self._height = [], 0, 0, 0

    def row(self, title):
        """A heading over what follows."""
        self._break()
        self.panels.append(
            {
                "id": len(self.panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": self._y, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        self._y += 1

    def stat(self, title, description, queries, unit, w, h=5, show="value", paint="value", size=36, **more):
        """A number, or a few words, to be read at a glance; as large as fits where `size` is None."""
        options = {
            "colorMode": paint,
            "graphMode": "none",
            "justifyMode": "center",
            "orientation": "vertical",
            "textMode": show,
            "wideLayout": False,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
        if size:
            options["text"] = {"valueSize": size, "titleSize": 16}
        self._add(
            "stat",
            title,
            description,
            queries,
            unit,
            w,
            h,
            options,
            instant=True,
            colour="thresholds",
            **more,
        )

    def graph(
        self,
        title,
        description,
        queries,
        unit,
        w=8,
        h=8,
        stack=False,
        bars=False,
        legend="list",
        line_at=None,
        **more,
    ):
        """Series over time. `line_at` draws the bounds of thresholds.

        `bars` for rare events, one on the other; with stack=None each from 0, where a sum says nothing.
        """
        stacked_bars = bars and stack is not None
        quantiles = not (stack or bars) and any("histogram_quantile" in one.expr for one in queries)
        custom = {
            "drawStyle": "bars" if bars else "line",
            # The edge of a band of nothing would be a line along the bands below it.
            "lineWidth": 0 if bars or stack else 2,
            "lineInterpolation": "linear",
            "fillOpacity": 80 if stacked_bars else 50 if bars else 65 if stack else 0,
            "gradientMode": "none",
            # Points that stand alone would be invisible as a line.
            "showPoints": "auto",
            "pointSize": 4,
            "spanNulls": QUIET_MILLISECONDS if quantiles else False,
            "stacking": {"mode": "normal" if stack or stacked_bars else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if line_at else "off"},
            "axisPlacement": "auto",
            "axisLabel": "",
            "axisSoftMin": 0,
        }
        if "ceiling" in more:
            # An axis of its own accord makes 0 the middle of nothing, or runs to 10000 %.
            custom["axisSoftMax"] = more.pop("ceiling")
        table = legend == "table"
        more["overrides"] = [*of_nodes(), *colours(**QUANTILE_COLOURS), *more.get("overrides", ())]
        options = {
            "legend": {
                "displayMode": legend,
                "placement": "right" if table else "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"] if table else [],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        self._add(
            "timeseries",
            title,
            description,
            queries,
            unit,
            w,
            h,
            options,
            custom=custom,
            colour="palette-classic",
            thresholds=line_at,
            **more,
        )

    def heatmap(self, title, description, queries, unit, w=12, h=9, **more):
        """A distribution over time; exemplars are dots to click."""
        options = {
            "calculate": False,
            "cellGap": 0,
            "cellValues": {"unit": "short", "decimals": 0},
            "color": {
                "mode": "scheme",
                "scheme": "Oranges",
                "fill": "dark-orange",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 64,
                "reverse": False,
            },
            "yAxis": {"unit": unit, "axisPlacement": "left", "reverse": False},
            "rowsFrame": {"layout": "auto"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "exemplars": {"color": "rgba(31, 96, 196, 0.8)"},
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        }
        self._add(
            "heatmap",
            title,
            description,
            queries,
            unit,
            w,
            h,
            options,
            form="heatmap",
            colour="thresholds",
            custom={"scaleDistribution": {"type": "linear"}},
            **more,
        )

    def timeline(self, title, description, queries, unit, w=24, h=6, **more):
        """States over time, a band for each series."""
        options = {
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.85,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "single", "sort": "none"},
        }
        self._add(
            "state-timeline",
            title,
            description,
            queries,
            unit,
            w,
            h,
            options,
            colour="thresholds",
            custom={"fillOpacity": 75, "lineWidth": 0, "spanNulls": False},
            **more,
        )

    def table(
        self, title, description, queries, unit, w, h, columns, hide=(), overrides=(), cells="sm", **more
    ):
        """One line for each value of the labels that the queries have in common."""
        options = {
            "cellHeight": cells,
            "showHeader": True,
            "footer": {"show": False, "reducer": ["sum"], "fields": "", "countRows": False},
            "sortBy": [{"displayName": next(iter(columns.values())), "desc": False}],
        }
        hidden = {name: True for name in ("Time", "__name__", "job", "cluster", *hide)}
        order = {name: place for place, name in enumerate(columns)}
        transformations = [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {"excludeByName": hidden, "indexByName": order, "renameByName": columns},
            },
        ]
        self._add(
            "table",
            title,
            description,
            queries,
            unit,
            w,
            h,
            options,
            form="table",
            instant=True,
            colour="thresholds",
            custom={"align": "auto", "minWidth": 70, "cellOptions": {"type": "auto"}, "inspect": False},
            overrides=overrides,
            transformations=transformations,
            **more,
        )

    def _add(
        self,
        kind,
        title,
        description,
        queries,
        unit,
        w,
        h,
        options,
        *,
        instant=False,
        form="time_series",
        colour="thresholds",
        custom=None,
        thresholds=None,
        mappings=None,
        overrides=(),
        links=(),
        decimals=None,
        low=None,
        high=None,
        empty=None,
        transformations=None,
    ):
        defaults = {
            "unit": unit,
            "color": {"mode": colour},
            "mappings": mappings or [],
            "thresholds": {
                "mode": "absolute",
                "steps": thresholds or steps("green" if kind != "stat" else "text"),
            },
        }
        # A gauge is always there. A quantile, or what is more than nothing, needs something to happen.
        always = not any("_bucket{" in query.expr or "> 0" in query.expr for query in queries)
        empty = empty or ("no node answered in this time" if always else "nothing happened in this time")
        optional = {"custom": custom, "decimals": decimals, "min": low, "max": high, "noValue": empty}
        defaults.update({name: value for name, value in optional.items() if value is not None})
        panel = {
            "id": len(self.panels) + 1,
            "type": kind,
            "title": title,
            "description": description,
            "datasource": PROMETHEUS,
            "gridPos": self._place(w, h),
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
            "options": options,
            "targets": [
                _target(query, chr(ord("A") + place), instant, form) for place, query in enumerate(queries)
            ],
        }
        if links:
            panel["links"] = list(links)
        if transformations:
            panel["transformations"] = transformations
        self.panels.append(panel)

    def _place(self, w, h):
        if self._x + w > COLUMNS:
            self._break()
        place = {"x": self._x, "y": self._y, "w": w, "h": h}
        self._x, self._height = self._x + w, max(self._height, h)
        return place

    def _break(self):
        self._x, self._y, self._height = 0, self._y + self._height, 0

    def json(self):
        """The dashboard as Grafana reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "fiscalYearStartMonth": 0,
            "weekStart": "",
            "liveNow": False,
            "preload": False,
            "refresh": "10s",
            "time": {"from": "now-30m", "to": "now"},
            "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
            "templating": {"list": _variables()},
            "annotations": {"list": _annotations()},
            "links": [
                _link(
                    "bitacora",
                    "",
                    "The other boards, with the same nodes and time",
                    kind="dashboards",
                    tags=[TAG],
                    asDropdown=True,
                    includeVars=True,
                    keepTime=True,
                ),
                traces_link(),
            ],
            "panels": self.panels,
        }


def _target(query, ref, instant, form):
    target = {
        "refId": ref,
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend,
        "format": form,
        "instant": instant,
        "range": not instant,
    }
    if query.exemplar:
        target["exemplar"] = True
    return target


def _variables():
    def labels(name, label, query, description, everything):
        current = {"text": "All", "value": "$__all"} if everything else {"text": "", "value": ""}
        variable = {
            "name": name,
            "label": label,
            "type": "query",
            "description": description,
            "datasource": PROMETHEUS,
            "definition": query,
            "query": query,
            "regex": "",
            "refresh": 2,
            "sort": 1,
            "hide": 0,
            "multi": everything,
            "includeAll": everything,
            "current": current,
            "options": [],
            "skipUrlSync": False,
        }
        if everything:
            variable["allValue"] = ".+"
        return variable

    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "description": "The Prometheus that scrapes the nodes.",
            "regex": "",
            "refresh": 1,
            "hide": 0,
            "multi": False,
            "includeAll": False,
            "current": {"text": "Prometheus", "value": "prometheus"},
            "options": [],
            "skipUrlSync": False,
        },
        labels("cluster", "Cluster", 'label_values(up{job="bitacora"}, cluster)', "One deployment.", False),
        labels(
            "instance",
            "Node",
            'label_values(up{job="bitacora",cluster="$cluster"}, instance)',
            "Some of its nodes, or all.",
            True,
        ),
    ]


def _annotations():
    def alerts(critical):
        return (
            f'max by (alertname) (ALERTS{{alertname=~"Bitacora.+",cluster="$cluster",alertstate="firing"'
            f',severity{critical}"critical"}})'
        )

    def mark(name, colour, expr, title, enable=True, **more):
        return {
            "name": name,
            "datasource": PROMETHEUS,
            "enable": enable,
            "hide": False,
            "iconColor": colour,
            "expr": expr,
            "titleFormat": title,
            "step": "5s",
            **more,
        }

    return [
        {
            "name": "Annotations & Alerts",
            "builtIn": 1,
            "type": "dashboard",
            "enable": True,
            "hide": True,
            "iconColor": "rgba(0, 211, 255, 1)",
            "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        },
        # The values are points of time, in milliseconds: the marks stand exactly there.
        mark(
            "New leader",
            "green",
            f"bitacora_raft_leader_start_timestamp_seconds{{{CLUSTER}}} * 1000 > 0",
            "{{instance}} leads",
            useValueForTime=True,
        ),
        mark(
            "Restart",
            "text",
            f"process_start_time_seconds{{{CLUSTER}}} * 1000",
            "{{instance}} started",
            useValueForTime=True,
        ),
        mark("Critical alert", "red", alerts("="), "{{alertname}}"),
        mark("Other alert", "orange", alerts("!="), "{{alertname}}", enable=False),
    ]
