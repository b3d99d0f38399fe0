"""Kubernetes API client with JSON objects: transient errors are retried, others are raised."""

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

_TIMEOUT_SECONDS = (5, 30)  # to connect, to read
_TRANSIENT_STATUSES = (410, 429, 500, 502, 503, 504)
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
    """The API server did not answer within `patience_seconds`."""


class KubernetesRefusedError(RuntimeError):
    """The API server refused a call permanently; the message holds its reason."""


class KubernetesApi:
    """Calls to one namespace. Each is retried with exponential, jittered backoff while the server
    answers 410, 429 or 5xx or drops connections, until `patience_seconds` have passed.
    """

    def __init__(self, namespace: str, *, patience_seconds: float, kubeconfig: str = "") -> None:
        from kubernetes import client, config

        configuration = client.Configuration()
        if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
            config.load_kube_config(kubeconfig or None, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
        configuration.retries = False  # `_call` retries by status
        self._client = client.ApiClient(configuration)
        self._namespace = namespace
        self._patience_seconds = patience_seconds
        self.num_calls = 0

    def version(self) -> tuple[int, int]:
        """The server's (major, minor)."""
        version = json.loads(self._call("GET", "/version")[1])
        return int(version["major"]), int("".join(filter(str.isdigit, version["minor"])))

    def get(self, kind: str, name: str) -> Json | None:
        """The object, or None if it does not exist."""
        status, body = self._call("GET", f"{self._path(kind)}/{name}", expected=(404,))
        return None if status == 404 else json.loads(body)

    def list(self, kind: str, **selectors: str) -> list[Json]:
        """List objects by `labelSelector` or `fieldSelector`."""
        body = self._call("GET", self._path(kind), query=selectors)[1]
        return list(json.loads(body)["items"])

    def create(self, kind: str, manifest: Json) -> Json | None:
        """Create an object; None if its name exists (also by an earlier attempt of this call)."""
        status, body = self._call("POST", self._path(kind), body=manifest, expected=(409,))
        return None if status == 409 else json.loads(body)

    def patch(self, kind: str, name: str, change: Json) -> Json | None:
        """Apply a merge patch; None if the object was deleted or has changed (409)."""
        status, body = self._call(
            "PATCH", f"{self._path(kind)}/{name}", body=change, expected=(404, 409)
        )
        return None if status in (404, 409) else json.loads(body)

    def delete(self, kind: str, name: str, *, unchanged: Json | None = None) -> bool:
        """Delete with foreground propagation; False if deleted, or changed since `unchanged`."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        options["propagationPolicy"] = "Foreground"
        if unchanged is not None:
            metadata = unchanged["metadata"]
            options["preconditions"] = {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            }
        status, _ = self._call(
            "DELETE", f"{self._path(kind)}/{name}", body=options, expected=(404, 409)
        )
        return status not in (404, 409)

    def log(self, pod: str, *, lines: int | None = None) -> bytes:
        """The last lines of a pod's log, or all; empty where the kubelet has none."""
        status, body = self._call(
            "GET",
            f"{self._path('pods')}/{pod}/log",
            query={"tailLines": str(lines), "limitBytes": "1000000"} if lines else {},
            expected=(400, 404, 500),  # not started; pod deleted; node lost
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
        """Status and body of a response that is a success or `expected`."""
        import urllib3

        end = time.monotonic() + self._patience_seconds
        pause = 0.5
        while True:
            self.num_calls += 1
            try:
                status, content = self._send(method, path, query or {}, body)
            except urllib3.exceptions.HTTPError as error:
                reason = f"{type(error).__name__}: {error}"
            else:
                if status < 300 or status in expected:
                    return status, content
                reason = f"{status} {_reason(content)}"
                if status not in _TRANSIENT_STATUSES:
                    raise KubernetesRefusedError(f"{method} {path}: {reason}")
            if time.monotonic() > end:
                raise KubernetesUnreachableError(
                    f"{method} {path} failed for {self._patience_seconds:.0f} s: {reason}"
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
            response = self._client.call_api(
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
        return int(response.status), bytes(response.data)


def _reason(content: bytes) -> str:
    """The `message` of the server's error; other content (a proxy's page) is truncated."""
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content[:300].decode(errors="replace")


def list_events(api: KubernetesApi, uid: str) -> list[Json]:
    """The events of an object, oldest first."""
    events = api.list("events", fieldSelector=f"involvedObject.uid={uid}")
    return sorted(events, key=lambda event: str(event.get("lastTimestamp") or ""))


def until(condition: Callable[[], bool], *, seconds: float, every: float = 0.5) -> bool:
    """Poll a condition; True once it holds, False after the time limit."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
