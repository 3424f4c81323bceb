#!/usr/bin/env python3
"""A stand-in for Grafana: reads the same provisioning, refuses what Grafana refuses, draws nothing.

Real here: data sources and dashboards as provisioned, with Grafana's rules for variables ($NAME, ${NAME},
$__env{NAME}, $__file{path}, and $$ for a dollar sign), no two defaults, no uid twice, no title twice in a
folder, no reference to a data source that is not there; queries passed on to a data source; the home page;
anonymous visitors with the role of a viewer, and nobody else.
Not here: pages, panels, alerts, users, and everything that Grafana computes itself.
"""

import glob
import http.server
import json
import os
import re
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request

import yaml

PROVISIONING = os.environ.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning")
HOME = os.environ.get("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", "")
QUERY_SECONDS_MAX = 30
VARIABLE = re.compile(r"\$\$|\$__(env|file)\{([^}]*)\}|\$\{(\w+)\}|\$(\w+)")
# Data sources that every Grafana has.
BUILT_IN = {"grafana", "-- Grafana --", "-- Mixed --", "-- Dashboard --"}


class Refused(Exception):
    """Grafana would not start with this."""


def check(holds, why):
    if not holds:
        raise Refused(why)


def expand(value):
    if isinstance(value, dict):
        return {key: expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item) for item in value]
    if not isinstance(value, str):
        return value

    def one(match):
        if match[0] == "$$":
            return "$"
        if match[1] == "file":
            with open(match[2], encoding="utf-8") as file:
                return file.read().strip()
        return os.environ.get(match[2] or match[3] or match[4], "")

    return VARIABLE.sub(one, value)


def configurations(kind):
    for path in sorted(glob.glob(f"{PROVISIONING}/{kind}/*.y*ml")):
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
        check(isinstance(content, dict) and content.get("apiVersion") == 1, f"{path}: apiVersion is not 1")
        yield path, content


def read_data_sources():
    sources = {}
    for path, content in configurations("datasources"):
        for source in expand(content).get("datasources") or []:
            for key in ("name", "type", "uid", "url", "access"):
                check(source.get(key), f"{path}: a data source without {key}: {source}")
            check(source["uid"] not in sources, f"{path}: uid {source['uid']} twice")
            names = {other["name"] for other in sources.values()}
            check(source["name"] not in names, f"{path}: name {source['name']} twice")
            sources[source["uid"]] = source
    check(sources, f"no data source in {PROVISIONING}/datasources")
    defaults = [uid for uid, source in sources.items() if source.get("isDefault")]
    check(len(defaults) <= 1, f"only one data source can be the default: {defaults}")
    for source in sources.values():
        for uid in uids_of_data_sources(source.get("jsonData") or {}):
            check(uid in sources, f"data source {source['uid']} names {uid}, which is not there")
    return sources


def uids_of_data_sources(value):
    if isinstance(value, list):
        for item in value:
            yield from uids_of_data_sources(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "datasourceUid" and isinstance(item, str):
                yield item
            else:
                yield from uids_of_data_sources(item)


def read_dashboards(sources):
    dashboards, titles = {}, set()
    for path, content in configurations("dashboards"):
        for provider in content.get("providers") or []:
            directory = expand(provider["options"]["path"])
            check(os.path.isdir(directory), f"{path}: {directory} is not a directory")
            folder = provider.get("folder", "")
            for file in sorted(glob.glob(f"{directory}/**/*.json", recursive=True)):
                board = read_dashboard(file, sources)
                check(board["uid"] not in dashboards, f"{file}: uid {board['uid']} twice")
                check((folder, board["title"]) not in titles, f"{file}: title {board['title']} twice")
                titles.add((folder, board["title"]))
                dashboards[board["uid"]] = {"board": board, "folder": folder, "file": file}
    check(dashboards, "no dashboard is provisioned")
    return dashboards


def read_dashboard(file, sources):
    with open(file, encoding="utf-8") as text:
        board = json.load(text)
    check(board.get("title"), f"{file}: no title")
    check(board.get("uid"), f"{file}: no uid: its address would change with every start")
    check(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", board["uid"]), f"{file}: {board['uid']!r} cannot be a uid")
    check("__inputs" not in board, f"{file}: exported for sharing: its inputs are never asked for")
    variables = {item["name"] for item in (board.get("templating") or {}).get("list", [])}
    for uid in references(board):
        variable = re.fullmatch(r"\$\{?(\w+)\}?", uid)
        known = variable[1] in variables if variable else uid in sources or uid in BUILT_IN
        check(known, f"{file}: data source {uid} is not there")
    return board


def references(value):
    """The uids in every `datasource` of a dashboard."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        source = value.get("datasource")
        if isinstance(source, dict) and isinstance(source.get("uid"), str):
            yield source["uid"]
        for item in value.values():
            yield from references(item)


class Grafana(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sources, dashboards, home = {}, {}, None

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.route(body)

    def do_GET(self):
        self.route(None)

    def route(self, body):
        url = urllib.parse.urlparse(self.path)
        if url.path == "/api/health":
            return self.answer(200, {"database": "ok", "version": "stand-in"})
        if url.path == "/login" and body is not None:
            return self.answer(401, {"message": "no login: the form is off, and there are no users"})
        if self.headers.get("Authorization"):
            return self.answer(401, {"message": "invalid username or password"})
        if os.environ.get("GF_AUTH_ANONYMOUS_ENABLED") != "true":
            return self.answer(401, {"message": "unauthorized"})
        if match := re.fullmatch(r"/api/datasources/proxy/uid/([\w-]+)(/.*)", url.path):
            return self.proxy(match[1], match[2], url.query, body)
        if body is not None:
            return self.answer(403, {"message": "a viewer changes nothing"})
        if url.path == "/":
            text = "A stand-in for Grafana: it reads and checks what is provisioned, and draws nothing.\n\n"
            text += "".join(f"{item['board']['title']}\n" for item in self.dashboards.values())
            return self.answer(200, text.encode(), "text/plain; charset=utf-8")
        if url.path == "/api/search":
            return self.answer(200, [
                {"uid": uid, "title": item["board"]["title"], "type": "dash-db", "folderTitle": item["folder"],
                 "url": f"/d/{uid}", "tags": item["board"].get("tags", [])}
                for uid, item in self.dashboards.items()])
        if url.path == "/api/dashboards/home":
            return self.answer(200, {"dashboard": self.home, "meta": {"isHome": True, "canSave": False}})
        if match := re.fullmatch(r"/api/dashboards/uid/([\w-]+)", url.path):
            if item := self.dashboards.get(match[1]):
                meta = {"provisioned": True, "canSave": False, "folderTitle": item["folder"]}
                return self.answer(200, {"dashboard": item["board"], "meta": meta})
            return self.answer(404, {"message": "Dashboard not found"})
        return self.answer(404, {"message": "not in this stand-in"})

    def proxy(self, uid, path, query, body):
        if uid not in self.sources:
            return self.answer(404, {"message": "Unable to find datasource"})
        address = self.sources[uid]["url"].rstrip("/") + path + (f"?{query}" if query else "")
        request = urllib.request.Request(address, data=body)
        if kind := self.headers.get("Content-Type"):
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=QUERY_SECONDS_MAX) as answer:
                kind = answer.headers.get("Content-Type", "application/json")
                return self.answer(answer.status, answer.read(), kind)
        except urllib.error.HTTPError as error:
            return self.answer(error.code, error.read())
        except OSError as error:
            return self.answer(502, {"message": f"{address}: {error}"})


def main():
    # As process 1 nothing ends it by default.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        Grafana.sources = read_data_sources()
        Grafana.dashboards = read_dashboards(Grafana.sources)
        if HOME:
            check(os.path.isfile(HOME), f"the home dashboard {HOME} is not there")
            with open(HOME, encoding="utf-8") as file:
                Grafana.home = json.load(file)
    except (Refused, KeyError, ValueError, OSError, yaml.YAMLError) as error:
        sys.exit(f"stand-in for grafana: {type(error).__name__}: {error}")
    print(f"stand-in for grafana: data sources {sorted(Grafana.sources)}, "
          f"dashboards {sorted(Grafana.dashboards)}", flush=True)
    http.server.ThreadingHTTPServer(("0.0.0.0", 3000), Grafana).serve_forever()


if __name__ == "__main__":
    main()
