"""What every pod of ours must be: the Restricted Pod Security Standard, and more."""

from typing import Any

Json = dict[str, Any]

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def faults(manifest: Json, *, may_mount: frozenset[str] = frozenset()) -> list[str]:
    """What a manifest with a pod in it does against the policy. `may_mount`: hostPath volumes by
    name, which only a test's own patch has."""
    pod = _pod_spec(manifest)
    found = [
        f"{name} is set"
        for name in ("hostNetwork", "hostPID", "hostIPC", "hostAliases")
        if pod.get(name)
    ]
    context = pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        found.append("it does not run as a numeric user that is not root")
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        found.append("no seccomp profile")
    for volume in pod.get("volumes", []):
        kind = next(iter(set(volume) - {"name"}))
        if kind not in _VOLUMES and volume["name"] not in may_mount:
            found.append(f"volume {volume['name']} is a {kind}")
    for container in pod["containers"] + pod.get("initContainers", []):
        found += [f"{container['name']}: {fault}" for fault in _container_faults(container)]
    return found


def work_faults(manifest: Json) -> list[str]:
    """What only pods that do work must keep to: they hold no key to the cluster."""
    pod, found = _pod_spec(manifest), []
    if pod.get("automountServiceAccountToken") is not False:
        found.append("the service account's token is mounted")
    if pod.get("enableServiceLinks") is not False:
        found.append("the environment tells of the namespace's services")
    return found + [
        f"{container['name']} takes a whole environment over"
        for container in pod["containers"]
        if container.get("envFrom")
    ]


def _container_faults(container: Json) -> list[str]:
    context = container.get("securityContext", {})
    found = []
    if context.get("allowPrivilegeEscalation") is not False:
        found.append("privileges can grow")
    if context.get("readOnlyRootFilesystem") is not True:
        found.append("its root can be written")
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        found.append("it keeps capabilities")
    if context.get("capabilities", {}).get("add") or context.get("privileged"):
        found.append("it asks for privileges")
    if "memory" not in container.get("resources", {}).get("limits", {}):
        found.append("no limit on memory")
    names = [one["name"] for one in container.get("env", [])]
    found += [f"{name} is set twice" for name in sorted({n for n in names if names.count(n) > 1})]
    found += [
        f"{one['name']} has its value in the manifest: refer to a secret"
        for one in container.get("env", [])
        if "value" in one and _is_secret(one["name"])
    ]
    return found


def _is_secret(name: str) -> bool:
    return any(word in name for word in ("SECRET", "PASSWORD", "TOKEN", "ACCESS_KEY", "API_KEY"))


def _pod_spec(manifest: Json) -> Json:
    if manifest["kind"] == "Pod":
        return dict(manifest["spec"])
    if manifest["kind"] == "CronJob":
        return dict(manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    return dict(manifest["spec"]["template"]["spec"])
