"""`dagster-k8s/config` of work Jobs: per asset by its op's tags, per run by the run's tags.

It has dagster-k8s' schema and is parsed by it. A run's own pod is shaped by the run's tag
`dagster-k8s/config` (K8sRunLauncher), so its work Jobs have a tag of their own, RUN_TAG.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from dagster_k8s.job import UserDefinedDagsterK8sConfig

Json = dict[str, Any]

ASSET_TAG = "dagster-k8s/config"
RUN_TAG = "snow/work-k8s-config"

_OWNED = {
    "container_config": {"name", "image", "command", "args"},
    "pod_spec_config": {"containers", "restart_policy"},
    "job_spec_config": {
        "backoff_limit",
        "backoff_limit_per_index",
        "completion_mode",
        "completions",
        "manual_selector",
        "parallelism",
        "pod_failure_policy",
        "selector",
        "suspend",
        "template",
    },
    "job_metadata": {"name", "namespace", "owner_references"},
    "job_config": {"api_version", "kind", "metadata", "spec", "status"},
}
"""Fields that the Job client sets, since leases, adoption and lineage depend on them."""


def k8s_config_patches(op_tags: Mapping[str, str], run_tags: Mapping[str, str]) -> list[Json]:
    """Strategic merge patches on a work Job, the run's last.

    Raises dg.Failure for a field that the Job client sets, and DagsterInvalidConfigError for one
    that dagster-k8s does not know.
    """
    sources = ((ASSET_TAG, op_tags), (RUN_TAG, run_tags))
    return [_patch(tag, tags[tag]) for tag, tags in sources if tag in tags]


def _patch(tag: str, content: str) -> Json:
    from dagster_k8s.job import get_user_defined_k8s_config
    from kubernetes import client

    config = get_user_defined_k8s_config({ASSET_TAG: content})
    _refuse_owned_fields(tag, config)
    container = _fields(client.V1Container, {**config.container_config, "name": "work"})
    pod_spec = _fields(client.V1PodSpec, {**config.pod_spec_config, "containers": []})
    pod_metadata = _fields(client.V1ObjectMeta, config.pod_template_spec_metadata)
    job_spec = _fields(client.V1JobSpec, {**config.job_spec_config, "template": {}})
    return {
        "metadata": _fields(client.V1ObjectMeta, config.job_metadata),
        "spec": {
            **job_spec,
            "template": {
                "metadata": pod_metadata,
                "spec": {**pod_spec, "containers": [container]},
            },
        },
    }


def _refuse_owned_fields(tag: str, config: "UserDefinedDagsterK8sConfig") -> None:
    for kind in ("labels", "annotations"):
        names = (config.job_metadata.get(kind) or {}).keys()
        if refused := sorted(name for name in names if name.startswith("snow")):
            raise dg.Failure(
                f"tag {tag!r} sets job_metadata.{kind}[{refused[0]!r}], by which Jobs are found "
                "and leased: use another name",
                allow_retries=False,
            )
    for section, owned in _OWNED.items():
        if refused := sorted(owned & getattr(config, section).keys()):
            raise dg.Failure(
                f"tag {tag!r} sets {section}.{refused[0]}, which the Job client sets itself: "
                "remove it (an image is named under `images` of SNOW_JOBS)",
                allow_retries=False,
            )


def _fields(model: type[Any], values: Mapping[str, Any]) -> Json:
    """Fields in a manifest's spelling, checked by the client's model."""
    from dagster_k8s.models import k8s_model_from_dict
    from kubernetes.client import ApiClient

    fields: Json = ApiClient().sanitize_for_serialization(k8s_model_from_dict(model, values))
    return fields
