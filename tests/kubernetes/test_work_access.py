"""What a work pod may reach and write: its store and its own outputs, and nothing that decides."""

import json
from fnmatch import fnmatchcase
from typing import Any

import dagster as dg
import pytest

from snow_assets import definitions
from snow_assets.home import CHECKOUT
from tests.kubernetes.test_base import MANIFESTS

POLICY = json.loads((CHECKOUT / "k8s" / "example" / "work-pods-policy.json").read_text())
BUCKET = "arn:aws:s3:::bucket"


def is_allowed(action: str, key: str) -> bool:
    """Whether the policy lets work pods do it to an object: a Deny wins over every Allow."""
    effects = {
        statement["Effect"]
        for statement in POLICY["Statement"]
        if action in listed(statement["Action"])
        and any(fnmatchcase(f"{BUCKET}/{key}", each) for each in listed(statement["Resource"]))
    }
    return effects == {"Allow"}


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def assets_with_jobs() -> set[str]:
    """The assets whose work runs in pods."""
    return {
        asset.key.to_user_string()
        for asset in definitions.defs.assets or []
        if isinstance(asset, dg.AssetsDefinition) and "jobs" in asset.required_resource_keys
    }


def test_work_pods_may_write_the_artifacts_of_the_assets_whose_work_they_do() -> None:
    writable = {
        resource.removeprefix(f"{BUCKET}/lake/").removesuffix("/*")
        for statement in POLICY["Statement"]
        if statement["Effect"] == "Allow" and "s3:PutObject" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }
    by_pattern = {
        name: {asset for asset in assets_with_jobs() if fnmatchcase(asset, name)}
        for name in writable - {"jobs"}
    }
    assert all(by_pattern.values())
    assert set().union(*by_pattern.values()) == assets_with_jobs()
    for asset in assets_with_jobs():
        assert is_allowed("s3:PutObject", f"lake/{asset}/all/0123/part-0.parquet")


@pytest.mark.parametrize(
    "key",
    [
        "lake/current/SMOKE/quality_scores/python.json",
        "lake/tables/SMOKE/current.json",
        "lake/raw_code_corpus/stdlib/0123/files-00000.parquet",
        "lake/opt_outs/all/0123/manifest.json",
        "lake/labels/mine.csv",
        "mlflow/1/artifacts/x",
        "another-prefix/x",
    ],
)
def test_work_pods_may_not_write_pointers_tables_sources_or_what_others_hold(key: str) -> None:
    assert not is_allowed("s3:PutObject", key)
    assert not is_allowed("s3:DeleteObject", key)


def test_work_pods_read_the_lake_and_nothing_beside_it() -> None:
    assert is_allowed("s3:GetObject", "lake/clean_corpus/python/0123/decisions-00000.parquet")
    assert not is_allowed("s3:GetObject", "mlflow/1/artifacts/x")


def egress_of(namespace: str) -> list[dict[str, Any]]:
    return [
        manifest["spec"]
        for manifest in MANIFESTS
        if manifest["kind"] == "NetworkPolicy"
        and manifest["metadata"]["namespace"] == namespace
        and "Egress" in manifest["spec"]["policyTypes"]
    ]


def test_every_work_pod_reaches_only_its_fellows_names_and_the_object_store() -> None:
    policies = egress_of("snow-jobs")
    assert all(policy["podSelector"] == {} for policy in policies)
    rules = [rule for policy in policies for rule in policy["egress"]]
    fellows, names, store = rules
    assert fellows == {"to": [{"podSelector": {}}]}
    assert {port["port"] for port in names["ports"]} == {53}
    (peer,) = names["to"]
    assert peer["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert [port["port"] for port in store["ports"]] == [443]
    (block,) = store["to"]
    assert block["ipBlock"]["cidr"] != "0.0.0.0/0"


def test_a_sandbox_reaches_nothing() -> None:
    (policy,) = egress_of("snow-sandbox")
    assert policy["podSelector"] == {}
    assert "egress" not in policy
