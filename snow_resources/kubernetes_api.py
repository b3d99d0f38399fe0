"""The Kubernetes API, JSON in and out: passing faults are waited out, others say what to do."""

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

_TIMEOUT_SECONDS = (5, 30)  # to connect, to read
_PASSING = (410, 429, 500, 502, 503, 504)
_LONGEST_PAUSE_SECONDS = 15.0

_PATHS = {
    "jobs": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "pods": "/api/v1/namespaces/{namespace}/pods",
    "events": "/api/v1/namespaces/{namespace}/events",
    "services": "/api/v1/namespaces/{namespace}/services",
    "configmaps": "/api/v1/namespaces/{namespace}/configmaps",
}

Json = dict[str, Any]


class KubernetesUnreachableError(RuntimeError):
    """The API server did not answer for as long as we were told to be patient."""


class KubernetesRefusedError(RuntimeError):
    """The API server refused a call for good; the message holds its reason."""


class KubernetesApi:
    """Calls to one namespace. Each is repeated with growing, jittered pauses while the server
    answers 410, 429 or 5xx or drops connections, until `patience_seconds` have passed.
    """

    def __init__(self, namespace: str, *, patience_seconds: float, kubeconfig: str = "") -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
            config.load_kube_config(kubeconfig or None, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        configuration.retries = False  # ours know which faults pass
        self._client = client.ApiClient(configuration)
        self._namespace = namespace
        self._patience_seconds = patience_seconds
        self.num_calls = 0

    def version(self) -> tuple[int, int]:
        """The server's (major, minor)."""
        found = json.loads(self._call("GET", "/version")[1])
        return int(found["major"]), int("".join(filter(str.isdigit, found["minor"])))

    def get(self, kind: str, name: str) -> Json | None:
        """The object, or None where there is none."""
        status, body = self._call("GET", f"{self._path(kind)}/{name}", expected=(404,))
        return None if status == 404 else json.loads(body)

    def list(self, kind: str, **selectors: str) -> list[Json]:
        """Objects by `labelSelector` or `fieldSelector`."""
        body = self._call("GET", self._path(kind), query=selectors)[1]
        return list(json.loads(body)["items"])

    def create(self, kind: str, manifest: Json) -> Json | None:
        """The object made, or None where its name is taken (by an earlier try of ours, too)."""
        status, body = self._call("POST", self._path(kind), body=manifest, expected=(409,))
        return None if status == 409 else json.loads(body)

    def patch(self, kind: str, name: str, change: Json) -> Json | None:
        """Merge a change; None where the object is gone or changed since (409)."""
        status, body = self._call(
            "PATCH", f"{self._path(kind)}/{name}", body=change, expected=(404, 409)
        )
        return None if status in (404, 409) else json.loads(body)

    def delete(self, kind: str, name: str, *, unchanged: Json | None = None) -> bool:
        """Delete in the foreground; False where it is gone, or no longer as `unchanged` has it."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options["propagationPolicy"] = "Foreground"
        if unchanged is not None:
            known = unchanged["metadata"]
            options["preconditions"] = {
                "uid": known["uid"],
                "resourceVersion": known["resourceVersion"],
            }
        status, _ = self._call(
            "DELETE", f"{self._path(kind)}/{name}", body=options, expected=(404, 409)
        )
        return status not in (404, 409)

    def log(self, pod: str, *, lines: int | None = None) -> bytes:
        """The last lines of a pod's container, or all; empty where the kubelet has none to give."""
        status, body = self._call(
            "GET",
            f"{self._path('pods')}/{pod}/log",
            query={"tailLines": str(lines), "limitBytes": "1000000"} if lines else {},
            expected=(400, 404, 500),  # not started; gone; its node is
        )
        return body if status < 400 else b""

    def _path(self, kind: str) -> str:
        return _PATHS[kind].format(namespace=self._namespace)

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Json | None = None,
        expected: tuple[int, ...] = (),
    ) -> tuple[int, bytes]:
        """Status and body of an answer that is a success or `expected`."""
        import urllib3

        end = time.monotonic() + self._patience_seconds
        pause = 0.5
        while True:
            self.num_calls += 1
            try:
                status, answer = self._send(method, path, query or {}, body)
            except urllib3.exceptions.HTTPError as error:
                fault = f"{type(error).__name__}: {error}"
            else:
                if status < 300 or status in expected:
                    return status, answer
                fault = f"{status} {_reason(answer)}"
                if status not in _PASSING:
                    raise KubernetesRefusedError(f"{method} {path}: {fault}")
            if time.monotonic() > end:
                raise KubernetesUnreachableError(
                    f"{method} {path} failed for {self._patience_seconds:.0f} s: {fault}"
                )
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _send(
        self, method: str, path: str, query: dict[str, str], body: Json | None
    ) -> tuple[int, bytes]:
        from kubernetes.client.rest import ApiException

        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=_TIMEOUT_SECONDS,
            )
        except ApiException as error:
            content = error.body or b""
            return int(error.status or 0), content if isinstance(
                content, bytes
            ) else content.encode()
        return int(answer.status), bytes(answer.data)


def _reason(answer: bytes) -> str:
    """What the server says of itself; anything else (a proxy's page) cut short."""
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer[:300].decode(errors="replace")


def events_of(api: KubernetesApi, uid: str) -> list[Json]:
    """The events of an object, oldest first."""
    found = api.list("events", fieldSelector=f"involvedObject.uid={uid}")
    return sorted(found, key=lambda event: str(event.get("lastTimestamp") or ""))


def until(condition: Callable[[], bool], *, seconds: float, every: float = 0.5) -> bool:
    """Whether a condition came to hold within the time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
