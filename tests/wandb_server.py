"""A stand-in for the server of Weights & Biases: it answers the real client and keeps the uploads.

It knows the requests of a run from init to finish, of a resumed run and of `wandb sync`. It answers any other request
with an error, which the client reports.
"""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHO = {"name": "someone"}


class Server(ThreadingHTTPServer):
    """The server and its uploads.

    Attributes:
        runs: maps an id to `history` (a list of rows), `exit_code`, `preempting`, and the variables of the last upsert.
        files: maps "run/name" or "artifact/name" to bytes.
        artifacts: the variables that created each artifact.
    """

    daemon_threads = True

    def __init__(self, refuses=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuses = refuses  # refuse every key
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs, self.files, self.artifacts = {}, {}, []

    def handle_error(self, *_):
        """Print nothing: the client breaks off connections that it no longer needs."""

    def file_of(self, kind, name):
        """Return the bytes of a file in the only artifact of a kind."""
        ((number, _),) = [item for item in enumerate(self.artifacts, 1) if item[1]["artifactTypeName"] == kind]
        return self.files[f"artifact{number}/{name}"]

    def answer(self, question, given):
        return getattr(self, question)(given)

    def Viewer(self, given):
        return {
            "viewer": {"id": "1", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}
        }

    def ServerFeaturesQuery(self, given):
        return {"serverInfo": {"features": []}}

    def RunResumeStatus(self, given):
        run = self.runs.get(given["name"])
        if run is None:
            return {"model": None}
        counts = {"historyLineCount": len(run["history"]), "logLineCount": 0, "eventsLineCount": 0}
        tails = {"historyTail": json.dumps([json.dumps(row) for row in run["history"][-1:]]), "eventsTail": "[]"}
        state = {"summaryMetrics": "{}", "config": "{}", "tags": [], "wandbConfig": '{"t": 1}'}
        bucket = {"id": "1", "name": given["name"], "displayName": "", **counts, **tails, **state}
        return {"model": {"id": "1", "name": "flowlab", "entity": {"id": "1", **WHO}, "bucket": bucket}}

    def UpsertBucket(self, given):
        run = self.runs.setdefault(given["name"], {"history": [], "exit_code": None, "preempting": False})
        run |= {name: value for name, value in given.items() if value is not None}
        project = {"name": given["project"], "entity": WHO}
        bucket = {"id": "1", "name": given["name"], "displayName": "", "project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def CreateRunFiles(self, given):
        files = [{"name": name, "uploadUrl": f"{self.url}/{given['run']}/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def ArtifactType(self, given):
        return {"project": {"artifact": None}}

    def FetchArtifactDigestAlgorithm(self, given):
        return {"artifact": None}

    def XXHashDigestsEnabled(self, given):
        return {"serverInfo": {"features": []}}

    def CreateArtifact(self, given):
        self.artifacts.append(given["input"])
        sequence = {"id": "1", "latestArtifact": None}
        artifact = {"id": f"artifact{len(self.artifacts)}", "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    def CreateArtifactManifest(self, given):
        file = {"id": "1", "uploadUrl": f"{self.url}/{given['artifactID']}/{given['name']}", "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": given["artifactID"], "file": file}}}

    UpdateArtifactManifest = CreateArtifactManifest

    def CreateArtifactFiles(self, given):
        edges = []
        for file in given["input"]["artifactFiles"]:
            place = f"{file['artifactID']}/{file['name']}"
            node = {"storagePath": place, "uploadUrl": f"{self.url}/{place}", "uploadHeaders": []}
            edges.append({"node": node | {"uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]}}})
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def CommitArtifact(self, given):
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": ""}}}

    def file_stream(self, run, content):
        stored = self.runs[run]
        rows = content.get("files", {}).get("wandb-history.jsonl")
        if rows:
            stored["history"][rows["offset"] :] = [json.loads(line) for line in rows["content"]]
        stored["preempting"] = stored["preempting"] or content.get("preempting", False)
        if content.get("complete"):
            stored["exit_code"] = content["exitcode"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self._body()
        if self.server.refuses:
            self._reply({}, status=401)
        elif self.path == "/graphql":
            asked = json.loads(body)
            question = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])[1]
            try:
                self._reply({"data": self.server.answer(question, asked.get("variables") or {})})
            except AttributeError:
                self._reply({"errors": [{"message": f"the stand-in does not know {question}"}]})
        else:
            if self.path.endswith("/file_stream"):
                self.server.file_stream(self.path.split("/")[-2], json.loads(body))
            self._reply({})

    def do_PUT(self):
        self.server.files[self.path.lstrip("/")] = self._body()
        self._reply({})

    def do_GET(self):
        self._reply({})

    def _body(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Print nothing on stderr."""


@contextmanager
def run_server(refuses=False):
    """Run a server inside the block."""
    with Server(refuses) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
