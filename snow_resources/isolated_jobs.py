"""Jobs in pods without network and lake: request by ConfigMaps, report by the pod's log.

The worker's side is `snow_assets/runtime/isolated_worker.py`.
"""

import base64
import gzip
import hashlib
import socket
from typing import Any

import dagster as dg

from snow_resources.gpu_jobs import Job

Json = dict[str, Any]

_BEGIN, _END = b"-----BEGIN SNOW REPORT-----", b"-----END SNOW REPORT-----"
_KEY = "request.json.gz"
_CONFIGMAP_BYTES = 700_000  # as base64 a third more; the API server's limit is 1 MiB an object
_MAX_CONFIGMAPS = 100


def isolated_manifest(manifest: Json, job: Job, *, python: str, canary: str) -> Json:
    """Return the Job's manifest without the lake: its request is mounted from ConfigMaps, and the
    worker checks that a canary cannot be reached.

    Raises dg.Failure where the canary's name does not resolve in this process: a pod without
    network cannot resolve it.
    """
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    name = manifest["metadata"]["name"]
    container["command"] = [python, "-m", "snow_assets.runtime.isolated_worker", job.module]
    container["env"].append({"name": "SNOW_CANARY", "value": resolve_canary(canary)})
    container["volumeMounts"].append({"name": "request", "mountPath": "/request", "readOnly": True})
    sources = [
        {"configMap": {"name": f"{name}-{index}", "items": [{"key": _KEY, "path": _file(index)}]}}
        for index in range(len(_request_slices(job)))
    ]
    pod["volumes"].append({"name": "request", "projected": {"sources": sources}})
    manifest["spec"]["template"]["metadata"]["labels"]["snow/network"] = "none"
    return manifest


def resolve_canary(canary: str) -> str:
    """Resolve HOST:PORT to ADDRESS:PORT,... with all addresses of the host; dg.Failure if none."""
    host, _, port = canary.rpartition(":")
    try:
        if not host or not port.isdecimal():
            raise ValueError("not of the form host:port")
        address_infos = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise dg.Failure(
            f"sandbox_canary {canary!r} cannot be resolved ({error}), so no pod can show that it "
            "has no network: name a host:port that is up and that resolves where runs are "
            "launched, or an IP address and port"
        ) from error
    hosts = dict.fromkeys(str(address_info[4][0]) for address_info in address_infos)
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)


def _request_slices(job: Job) -> list[bytes]:
    """The gzipped request in slices, each for a ConfigMap. Raises dg.Failure if too large."""
    content = gzip.compress(job.request, mtime=0)
    slices = [
        content[start : start + _CONFIGMAP_BYTES]
        for start in range(0, len(content), _CONFIGMAP_BYTES)
    ]
    if len(slices) > _MAX_CONFIGMAPS:
        raise dg.Failure(
            f"the request of {job.module} is {len(content)} bytes compressed, more than the "
            f"{_MAX_CONFIGMAPS * _CONFIGMAP_BYTES} that reach a pod without network: evaluate "
            "fewer problems at once, or fewer samples of each"
        )
    return slices


def request_config_maps(job: Job, owner: Json) -> list[Json]:
    """The numbered ConfigMaps that hold the request, owned by its Job."""
    job_metadata = owner["metadata"]
    reference = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job_metadata["name"],
        "uid": job_metadata["uid"],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"{job_metadata['name']}-{index}",
                "ownerReferences": [reference],
            },
            "immutable": True,
            "binaryData": {_KEY: base64.b64encode(content).decode()},
        }
        for index, content in enumerate(_request_slices(job))
    ]


def _file(index: int) -> str:
    """Name of a slice in the pod, in the order of which the worker joins them."""
    return f"{_KEY}.{index:05d}"


def parse_report(log: bytes) -> bytes | None:
    """Read the report from a pod's log; None if it is incomplete or its digest differs."""
    lines = log.splitlines()
    if _BEGIN not in lines or _END not in lines[lines.index(_BEGIN) :]:
        return None
    begin = lines.index(_BEGIN)
    digest, *chunks = lines[begin + 1 : lines.index(_END, begin)]
    content = b"".join(chunks)
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    return gzip.decompress(base64.b64decode(content))
