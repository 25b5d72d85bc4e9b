"""The manifests for Kubernetes are valid, agree with each other, and say nothing that the service does not know."""

import json
import os
import re
import shutil
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]

from clock.books.store import Store
from clock.cli.main import cli
from clock.config import FILE, PREFIX, load, variables
from clock.http import health_routes, server
from clock.runtime import worker
from clock.service import require_secrets

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "deploy" / "kubernetes"
FOLDERS = {"runs": PLACE, "migrates": PLACE / "migrate", "monitors": PLACE / "monitoring"}
VERSIONS = ["1.27", "1.37"]
"""The oldest and the newest of docs/kubernetes.md."""

PAPER = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
[MAKE_SECRETS] = re.findall(r"^```sh\n(mkdir -m 700 .+?)\n```$", PAPER, re.MULTILINE | re.DOTALL)
[MAKE_ALERTS] = re.findall(r"^(\{ printf .+?) \| kubectl apply -f -$", PAPER, re.MULTILINE | re.DOTALL)

Manifest = dict[str, Any]


def read(folder: Path) -> Manifest:
    found: Manifest = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    return found


def kustomizations(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    """This one and the components that it uses."""
    yield folder, read(folder)
    for name in read(folder).get("components", []):
        yield from kustomizations((folder / name).resolve())


def manifests(folder: Path) -> list[Manifest]:
    """What is written there, of all that ``kubectl apply -k`` applies."""
    files = [place / name for place, one in kustomizations(folder) for name in one.get("resources", [])]
    return [one for file in files for one in yaml.safe_load_all(file.read_text("utf-8"))]


def generated(folder: Path) -> dict[tuple[str, str], set[str]]:
    """The keys of what is generated, by kind and name; of settings: the names of their variables."""
    found = {}
    for place, one in kustomizations(folder):
        for secret in one.get("secretGenerator", []):
            found["Secret", secret["name"]] = {Path(name).name for name in secret["files"]}
        for settings in one.get("configMapGenerator", []):
            lines = "\n".join((place / name).read_text("utf-8") for name in settings["envs"])
            found["ConfigMap", settings["name"]] = set(re.findall(r"^([^#\n]\w*)=", lines, re.MULTILINE))
    return found


ALL = {name: manifests(folder) for name, folder in FOLDERS.items()}
EACH = [(name, one) for name, several in ALL.items() for one in several]
WITH_PODS = {one["metadata"]["name"]: one for _, one in EACH if "template" in one["spec"]}
PODS: dict[str, Manifest] = {name: one["spec"]["template"] for name, one in WITH_PODS.items()}
CONTAINERS: dict[str, Manifest] = {name: one["spec"]["containers"][0] for name, one in PODS.items()}


def of_kind(kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one["spec"] for _, one in EACH if one["kind"] == kind}


def chosen_by(selector: Manifest) -> set[str]:
    """Whose pods have these labels."""

    def fits(labels: Manifest) -> bool:
        wanted, expressions = selector.get("matchLabels", {}), selector.get("matchExpressions", [])
        assert all(one["operator"] == "In" for one in expressions)
        return wanted.items() <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in expressions)

    return {name for name, pod in PODS.items() if fits(pod["metadata"]["labels"])}


RUNNING = {"clock-api", "clock-worker"}


def test_what_there_is() -> None:
    kinds = sorted(f"{one['kind']} {one['metadata']['name']}" for one in ALL["runs"] if one["kind"] != "NetworkPolicy")
    assert kinds == [
        "Deployment clock-api",
        "Deployment clock-worker",
        "HorizontalPodAutoscaler clock-api",
        "PodDisruptionBudget clock-api",
        "PodDisruptionBudget clock-worker",
        "Service clock-api",
    ]
    assert PODS.keys() == {*RUNNING, "clock-migrate"}
    assert all("namespace" not in one["metadata"] for _, one in EACH)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_and_has_no_field_that_kubernetes_does_not_know(version: str) -> None:
    for where, one in EACH:
        if where != "monitors":
            assert kubernetes_validate.validate(one, version, strict=True) == version
    assert all(f"{version}" in PAPER for version in VERSIONS)


def test_every_file_is_named_and_every_name_is_a_file() -> None:
    found = {path for path in PLACE.rglob("*") if path.is_file() and path.parent.name != "secrets"}
    named, made = set(), set()
    for place, one in [each for folder in FOLDERS.values() for each in kustomizations(folder)]:
        named |= {place / "kustomization.yaml", *(place / name for name in one.get("resources", []))}
        named |= {place / name for settings in one.get("configMapGenerator", []) for name in settings["envs"]}
        made |= {place / name for secret in one.get("secretGenerator", []) for name in secret["files"]}
    assert named == found
    assert {path.parent for path in made} == {PLACE / "common" / "secrets"}
    assert "secrets/" in (ROOT / ".gitignore").read_text("utf-8").split()


def test_every_variable_is_a_setting() -> None:
    for name in [*PLACE.rglob("*.yaml"), *PLACE.rglob("*.env"), ROOT / "docs" / "kubernetes.md"]:
        text = re.sub(r"#.*", "", name.read_text("utf-8")) if name.suffix == ".yaml" else name.read_text("utf-8")
        assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) - {PREFIX, PREFIX + "_FILE"} <= variables(), name


def test_every_secret_is_generated_and_mounted_where_its_setting_looks() -> None:
    for folder in (FOLDERS["runs"], FOLDERS["migrates"]):
        made = generated(folder)
        for pod in (one["spec"]["template"]["spec"] for one in manifests(folder) if "template" in one["spec"]):
            secrets = {one["name"]: one["secret"] for one in pod["volumes"] if "secret" in one}
            [container] = pod["containers"]
            there = set()
            for mount in container["volumeMounts"]:
                if secret := secrets.pop(mount["name"], None):
                    assert mount["readOnly"] is True
                    keys = made["Secret", secret["secretName"]]
                    items = {one["key"]: one["path"] for one in secret.get("items", [])}
                    assert items.keys() <= keys
                    there |= {f"{mount['mountPath']}/{path}" for path in items.values() or keys}
            assert secrets == {}
            files = {one["name"]: one["value"] for one in container["env"]}
            assert all(name.endswith(FILE) for name in files)
            assert set(files.values()) <= there if container["name"] == "worker" else set(files.values()) == there
            for source in container.get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in made


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests, with the secrets that the commands of docs/kubernetes.md make."""
    place = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(PLACE, place / "deploy" / "kubernetes", ignore=shutil.ignore_patterns("secrets"))
    subprocess.run(["sh", "-ec", MAKE_SECRETS], cwd=place, check=True, env={"PATH": os.environ["PATH"]})
    return place / "deploy" / "kubernetes"


def test_the_commands_make_every_secret_and_production_accepts_them(copy: Path) -> None:
    secrets = copy / "common" / "secrets"
    asked = set().union(*(keys for (kind, _), keys in generated(PLACE).items() if kind == "Secret"))
    assert {path.name for path in secrets.iterdir()} == asked
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    lines = (PLACE / "common" / "settings.env").read_text("utf-8").splitlines()
    settings_env = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    files = {one["name"]: str(secrets / Path(one["value"]).name) for one in CONTAINERS["clock-api"]["env"]}
    settings = load({**settings_env, **files})
    require_secrets(settings)
    assert (settings.env, settings.api_workers) == ("prod", 1)
    assert settings.platform_url and not re.search(r"\s", (secrets / "metrics_token").read_text())


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("name", FOLDERS)
def test_kubectl_builds_it(copy: Path, name: str) -> None:
    folder = copy / FOLDERS[name].relative_to(PLACE)
    built = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True).stdout
    found = list(yaml.safe_load_all(built))
    tag = read(PLACE / "common")["images"][0]
    assert len(found) == len(ALL[name]) + len(generated(FOLDERS[name]))
    names = {(one["kind"], one["metadata"]["name"]) for one in found}
    for one in found:
        if name != "monitors":
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
        if "template" in one.get("spec", {}):
            pod = one["spec"]["template"]["spec"]
            assert pod["containers"][0]["image"] == f"{tag['newName']}:{tag['newTag']}"
            for secret in (volume["secret"] for volume in pod["volumes"] if "secret" in volume):
                assert ("Secret", secret["secretName"]) in names


def test_every_pod_has_no_more_rights_than_it_needs() -> None:
    for name, pod in PODS.items():
        spec, container = pod["spec"], CONTAINERS[name]
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys(), name
        assert len(spec["containers"]) == 1, name
        for volume in spec["volumes"]:
            assert volume.keys() - {"name"} <= {"secret", "emptyDir"}, name
            assert volume.get("secret", {"defaultMode": 0o440})["defaultMode"] == 0o440, name
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"], name
        assert "memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"], name
    assert "--uid 10001 " in (ROOT / "Dockerfile").read_text("utf-8")


def test_every_command_exists() -> None:
    for name, container in CONTAINERS.items():
        assert container["args"] == [name.removeprefix("clock-")] and "command" not in container
        assert container["args"][0] in cli.commands


def test_the_image_is_pinned_to_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    [image] = read(PLACE / "common")["images"]
    assert {container["image"] for container in CONTAINERS.values()} == {image["name"]}
    assert image["newTag"] == project["version"]


def test_selectors_match_the_pods_that_are_meant() -> None:
    for name, deployment in of_kind("Deployment").items():
        assert chosen_by(deployment["selector"]) == {name}
        spread = deployment["template"]["spec"]["topologySpreadConstraints"]
        assert "kubernetes.io/hostname" in {one["topologyKey"] for one in spread}
        assert all(chosen_by(one["labelSelector"]) == {name} for one in spread)
        assert chosen_by(of_kind("PodDisruptionBudget")[name]["selector"]) == {name}
    service, scaler = of_kind("Service")["clock-api"], of_kind("HorizontalPodAutoscaler")["clock-api"]
    assert chosen_by({"matchLabels": service["selector"]}) == {"clock-api"}
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "clock-api"}
    for name, monitor in of_kind("PodMonitor").items():
        assert chosen_by(monitor["selector"]) == {name}
    for label in re.findall(r"(?:-l |: )(app\.kubernetes\.io/component)[=:] ?(\w+)", PAPER):
        assert any(label in pod["metadata"]["labels"].items() for pod in PODS.values())


def test_nobody_is_taken_away_before_another_is_there() -> None:
    api, worker_, scaler = (WITH_PODS["clock-api"], WITH_PODS["clock-worker"], of_kind("HorizontalPodAutoscaler"))
    assert api["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in api["spec"] and scaler["clock-api"]["minReplicas"] >= 2
    assert worker_["spec"]["replicas"] >= 2 > worker_["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"]
    assert all(budget["maxUnavailable"] == 1 for budget in of_kind("PodDisruptionBudget").values())


def test_all_processes_find_room_in_a_postgres_with_its_default_settings() -> None:
    each = Store("postgresql://localhost/clock")._pool.max_size
    surge = WITH_PODS["clock-api"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    most = of_kind("HorizontalPodAutoscaler")["clock-api"]["maxReplicas"]
    processes = most + surge + WITH_PODS["clock-worker"]["spec"]["replicas"]
    assert processes * each + 1 <= 97
    assert f'"maxReplicas": {most}' in PAPER


def test_probes_ask_what_the_service_answers_and_wait_long_enough() -> None:
    paths = {path for route in health_routes.health_routes(*[None] * 3) for path in route.paths}  # type: ignore[arg-type,union-attr]
    api = CONTAINERS["clock-api"]
    assert api["ports"] == [{"name": "http", "containerPort": 8080}]
    probes = {name: api[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {name: one["path"] for name, one in probes.items()} == {
        "startup": "/healthz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }
    assert all(one["path"] in paths and one["port"] == "http" for one in probes.values())
    assert of_kind("Service")["clock-api"]["ports"][0]["targetPort"] == "http"
    [endpoint] = of_kind("PodMonitor")["clock-api"]["podMetricsEndpoints"]
    assert endpoint["path"] in paths and endpoint["port"] == "http"
    token = endpoint["authorization"]["credentials"]
    assert token["key"] in generated(PLACE)["Secret", token["name"]]
    for name in ("startup", "liveness"):
        probe = CONTAINERS["clock-worker"][f"{name}Probe"]
        assert probe["exec"]["command"] == COMPOSE["services"]["worker"]["healthcheck"]["test"][1:]
        assert probe["periodSeconds"] * probe["failureThreshold"] > worker.IDLE_SECONDS


def test_a_pod_has_longer_to_end_than_its_process_takes() -> None:
    api, ours = PODS["clock-api"]["spec"], COMPOSE["services"]
    asleep = int(CONTAINERS["clock-api"]["lifecycle"]["preStop"]["exec"]["command"][1])
    left = api["terminationGracePeriodSeconds"] - asleep
    assert left > 2 * server.STOP_SECONDS and left >= int(ours["api-1"]["stop_grace_period"].removesuffix("s"))
    grace = PODS["clock-worker"]["spec"]["terminationGracePeriodSeconds"]  # queue, servers, interpreter
    assert grace > 3 * worker.STOP_SECONDS and grace >= int(ours["worker"]["stop_grace_period"].removesuffix("s"))


def ports(rules: list[Manifest]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_only_what_is_named_comes_in_and_goes_out() -> None:
    policies = of_kind("NetworkPolicy")
    closed = policies["clock-nothing"]
    assert chosen_by(closed["podSelector"]) == PODS.keys()
    assert closed["policyTypes"] == ["Ingress", "Egress"] and not {"ingress", "egress"} & closed.keys()
    comes_in: dict[str, set[int]] = {name: set() for name in PODS}
    goes_out: dict[str, set[int]] = {name: set() for name in PODS}
    for policy in policies.values():
        assert all(rule["from"][0].keys() == {"namespaceSelector"} for rule in policy.get("ingress", []))
        for name in chosen_by(policy["podSelector"]):
            comes_in[name] |= ports(policy.get("ingress", []))
            goes_out[name] |= ports(policy.get("egress", []))
    assert comes_in == {"clock-api": {8080}, "clock-worker": set(), "clock-migrate": set()}
    assert goes_out == {
        "clock-api": {53, 443, 5432, 6379},
        "clock-worker": {53, 443, 5432, 6379},
        "clock-migrate": {53, 5432},
    }
    [label] = policies["clock-api-in"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"].items()
    assert f"{label[0]}={label[1]}" in PAPER


def test_the_command_of_the_paper_makes_the_alert_rules_a_manifest() -> None:
    made = subprocess.run(["sh", "-ec", MAKE_ALERTS], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rule = yaml.safe_load(made)
    assert (rule["kind"], rule["metadata"]) == ("PrometheusRule", {"name": "clock"})
    assert rule["spec"] == yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text("utf-8"))


def test_what_the_paper_applies_is_there() -> None:
    for folder in re.findall(r"kubectl apply -k (\S+?)[`\s]", PAPER):
        assert (ROOT / folder / "kustomization.yaml").is_file()
    for kind, name in re.findall(r"\b(deployment|deploy|hpa|job)[ /](clock-\w+)", PAPER):
        full = {"deploy": "Deployment", "hpa": "HorizontalPodAutoscaler"}.get(kind, kind.capitalize())
        assert name in of_kind(full)
    for patch in re.findall(r"--patch '(.+)'", PAPER):
        assert json.loads(patch)["spec"].keys() <= of_kind("HorizontalPodAutoscaler")["clock-api"].keys()
