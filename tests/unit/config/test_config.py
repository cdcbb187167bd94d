"""The configuration: its defaults, its errors, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hierfl.config import (
    Algorithm,
    Cloud,
    Config,
    Data,
    Dirichlet,
    Downlink,
    Edge,
    Iid,
    Quorum,
    Security,
    Shards,
    Uplink,
    load_config,
    read_config,
)
from hierfl.errors import ConfigError, render

ROOT = Path(__file__).parents[3]
EDGES = "edges: [{name: east, devices: [a, b]}]\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "topology.yaml"
        path.write_text(text)
        return path

    return write


def failure(path: Path | None, *sets: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(path, sets)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_defaults():
    assert yaml.safe_load(load_config(None).to_yaml()) == yaml.safe_load("""
        name: demo
        folder: null
        seed: 1
        runtime: process
        restart: never
        app: null
        task: classification
        model: cnn
        start_from: null
        data:
          dataset: fashion-mnist
          root: null
          partition: {kind: iid}
          validation: 0.0
          standardize: null
          transforms: []
          augment: []
          most_examples: null
          homes: null
        evaluate: {at: null, every: 1, metric: loss, mode: null, stop_at: null, patience: null,
                   keep_best: false}
        device: cpu
        algorithm:
          name: hier-signsgd
          lr: null
          schedule: cosine
          momentum: 0.9
          batch_size: 64
          edge_steps: 15
          rounds: 40
          participation: 1.0
          tie: random
          options: {}
        weights: examples
        downlink: {codec: null, bits: null, fraction: null}
        uplink: {codec: null, bits: null, fraction: null}
        channel: null
        quorum: {devices: 1.0, edges: 1.0, step_timeout: 30.0, round_timeout: 600.0,
                 max_missed: 5, heartbeat: 10.0}
        security: {certs: null, revoked: null, insecure: false}
        faults: {sign_flip: [], random_vote: [], shout: []}
        cloud: {address: "127.0.0.1:0"}
        edges:
          - {name: east, address: "127.0.0.1:0", devices: [east-0, east-1, east-2], capacity: null}
          - {name: west, address: "127.0.0.1:0", devices: [west-0, west-1, west-2], capacity: null}
        notify: null
        report_loss: true
        privacy: null
        hosts: {}
        reach: {}
        links:
          device: {up: null, down: null, delay: null, loss: null}
          edge: {up: null, down: null, delay: null, loss: null}
          nodes: {}
        metrics: {prometheus: null, tensorboard: false, mlflow: null, wandb: null, otlp: null}
    """)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("**/*.yaml")), ids=str)
def test_the_examples_load(path):
    assert load_config(path).tree()


def test_a_file_has_the_defaults_but_for_edges(write):
    file = write(EDGES)
    config = load_config(file)
    assert config == Config(folder=file.parent, edges=(Edge(name="east", devices=("a", "b")),))


def test_who_belongs_to_whom():
    config = load_config(None)
    assert config.tree() == {
        "east": ("east-0", "east-1", "east-2"),
        "west": ("west-0", "west-1", "west-2"),
    }
    assert config.edge("west") is config.edges[1]
    assert [config.parent_of(name) for name in ("west-1", "east")] == ["west", "cloud"]
    with pytest.raises(ConfigError, match="no edge named 'eats'") as caught:
        config.edge("eats")
    assert caught.value.hint == "Did you mean east?"
    with pytest.raises(ConfigError, match="no device or edge named 'cloud'"):
        config.parent_of("cloud")


def test_it_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_config(None).algorithm.lr = 1.0


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=20)
shares = st.floats(0, 1, exclude_min=True)
positive = st.floats(0, exclude_min=True, allow_infinity=False)
counts = st.integers(1, 2**40)
addresses = st.builds("{}:{}".format, st.sampled_from(["h", "[::1]", "10.0.0.1"]), st.just(0))
paths = st.none() | st.builds("/{}".format, names).map(Path)
scalars = texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@st.composite
def edges(draw):
    given = draw(st.lists(names, min_size=2, max_size=9, unique=True))
    given = [name for name in given if name != "cloud"] or ["e", "d"]
    given = given if len(given) > 1 else [*given, given[0] + "x"]
    cut = draw(st.integers(1, len(given) - 1))
    return tuple(
        Edge(name=name, address=draw(addresses), devices=tuple(given[cut + i :: cut]))
        for i, name in enumerate(given[:cut])
        if given[cut + i :: cut]
    )


configs = st.builds(
    Config,
    name=names,
    seed=st.integers(0, 2**63 - 1),
    runtime=st.sampled_from(get_args(Config.model_fields["runtime"].annotation)),
    restart=st.sampled_from(get_args(Config.model_fields["restart"].annotation)),
    model=texts,
    data=st.builds(
        Data,
        dataset=texts,
        root=paths,
        partition=st.just(Iid())
        | st.builds(Dirichlet, alpha=positive)
        | st.builds(Shards, classes=counts),
        validation=st.floats(0, 1, exclude_max=True),
    ),
    algorithm=st.builds(
        Algorithm,
        name=texts,
        lr=st.none() | positive,
        momentum=st.floats(0, 1, exclude_max=True),
        batch_size=counts,
        edge_steps=st.integers(1, 65535),
        rounds=counts,
        options=st.dictionaries(texts, scalars, max_size=4),
    ),
    downlink=st.builds(Downlink, codec=st.just("qsgd"), bits=st.none() | st.integers(2, 8))
    | st.builds(Downlink, codec=st.none() | st.just("topk"), fraction=st.none() | shares),
    uplink=st.builds(Uplink, codec=st.none() | texts),
    quorum=st.builds(
        Quorum, devices=shares, edges=shares, step_timeout=positive, round_timeout=positive
    ),
    security=st.builds(Security, certs=paths, revoked=paths, insecure=st.booleans()),
    cloud=st.builds(Cloud, address=addresses),
    edges=edges(),
)


@given(config=configs)
def test_what_is_written_reads_back_equal(config):
    again = read_config(config.to_yaml())
    assert again == config
    assert [type(value) for value in again.algorithm.options.values()] == [
        type(value) for value in config.algorithm.options.values()
    ]


@pytest.mark.parametrize(
    ("option", "read"),
    [
        ("algorithm.lr=1e-3", lambda c: c.algorithm.lr == 1e-3),
        ("algorithm.lr=1", lambda c: c.algorithm.lr == 1.0),
        ("algorithm.options.depth=3", lambda c: c.algorithm.options == {"depth": 3}),
        ("algorithm.options={a: true}", lambda c: c.algorithm.options["a"] is True),
        ("algorithm.name=mine.algo:Mine", lambda c: c.algorithm.name == "mine.algo:Mine"),
        ("data.partition.kind=dirichlet", lambda c: c.data.partition == Dirichlet(alpha=0.3)),
        ("data.partition={kind: shards}", lambda c: c.data.partition == Shards(classes=2)),
        ("data.root=", lambda c: c.data.root is None),
        ("data.root=~/sets", lambda c: c.data.root == Path.home() / "sets"),
        ("downlink.bits=3", lambda c: c.downlink == Downlink(bits=3)),
        ("edges.0.address=pi.local:9000", lambda c: c.edges[0].address == "pi.local:9000"),
        ("edges.west.address='[::1]:0'", lambda c: c.edges[1].address == "[::1]:0"),
        ("edges.east.devices=2", lambda c: c.edges[0].devices == ("east-0", "east-1")),
        ("edges.east.devices.1=x", lambda c: c.edges[0].devices == ("east-0", "x", "east-2")),
        ("edges.east.capacity=9", lambda c: c.edges[0].capacity == 9),
        ("reach={east-0: [west, east]}", lambda c: c.reach == {"east-0": ("west", "east")}),
        (
            "data.homes={a: [west-0, west-1, west-2, east-2], b: [east-1, east-0]}",
            lambda c: c.data.homes["b"] == ("east-1", "east-0"),
        ),
        ("edges=[{name: e, devices: 1}]", lambda c: c.tree() == {"e": ("e-0",)}),
    ],
)
def test_set_reaches_every_key(option, read):
    assert read(load_config(None, [option]))


def test_the_last_set_wins_and_beats_the_file(write):
    path = write("seed: 5\n" + EDGES)
    assert load_config(path).seed == 5
    assert load_config(path, ["seed=6", "seed=7"]).seed == 7


@pytest.mark.parametrize(
    ("option", "path", "said"),
    [
        ("algoritm.lr=1", "algoritm", "did you mean algorithm?"),
        ("algorithm.lrr=1", "algorithm.lrr", "did you mean algorithm.lr?"),
        ("rounds=5", "rounds", "did you mean algorithm.rounds?"),
        ("xyz=5", "xyz", "the keys here are name, seed,"),
        ("edges.1.adress=x", "edges.1.adress", "did you mean edges.1.address?"),
        ("edges.west.adress=x", "edges.1.adress", "did you mean edges.1.address?"),
        ("data.partition={kind: shards, class: 1}", "data.partition.class",
         "did you mean data.partition.classes?"),
        ("data.partition={kind: iid, alpha: 1}", "data.partition.alpha",
         "belongs to kind: dirichlet, not to kind: iid"),
        ("data.partition={kind: dirichlet, classes: 1}", "data.partition.classes",
         "belongs to kind: shards, not to kind: dirichlet"),
        ("data.partition={alpha: 1}", "data.partition", "should have the key kind"),
        ("data.partition.kind=even", "data.partition.kind",
         "should be 'iid', 'dirichlet', 'shards', 'disjoint', 'own', got 'even'"),
        ("data=3", "data", "should be a mapping of keys to values, got 3"),
        ("data.root=3", "data.root", "the path of a file"),
        ("seed=-1", "seed", "greater than or equal to 0, got -1"),
        ("seed=true", "seed", "integer, got True"),
        ("seed=1.0", "seed", "integer, got 1.0"),
        ("seed=9223372036854775808", "seed", "less than"),
        ("algorithm.lr=0", "algorithm.lr", "greater than 0, got 0"),
        ("algorithm.lr=.inf", "algorithm.lr", "finite number, got inf"),
        ("algorithm.lr=.nan", "algorithm.lr", "finite number, got nan"),
        ("algorithm.lr=fast", "algorithm.lr", "number, got 'fast'"),
        ("algorithm.momentum=1", "algorithm.momentum", "less than 1, got 1"),
        ("algorithm.batch_size=0", "algorithm.batch_size", "got 0"),
        ("algorithm.edge_steps=65536", "algorithm.edge_steps", "or equal to 65535, got 65536"),
        ("algorithm.rounds=0", "algorithm.rounds", "got 0"),
        ("algorithm.tie=plus", "algorithm.tie", "should be 'random', 'zero' or 'keep'"),
        ("algorithm.options.x=[1]", "algorithm.options.x", "a string, a number, true or false"),
        ("model=", "model", "should be a string"),
        ("model=''", "model", "should not be empty"),
        ("quorum.devices=0", "quorum.devices", "greater than 0, got 0"),
        ("quorum.edges=1.1", "quorum.edges", "less than or equal to 1, got 1.1"),
        ("quorum.step_timeout=0", "quorum.step_timeout", "greater than 0"),
        ("quorum.heartbeat=0", "quorum.heartbeat", "greater than or equal to 0.1, got 0"),
        ("downlink.bits=9", "downlink.bits", "less than or equal to 8, got 9"),
        ("downlink={codec: sign, bits: 4}", "downlink.bits", "belongs to codec: qsgd"),
        ("downlink={codec: qsgd, fraction: 0.1}", "downlink.fraction", "belongs to codec: topk"),
        ("security.insecure=1", "security.insecure", "should be true or false, got 1"),
        ("cloud.address=here", "cloud.address", "should be host:port"),
        ("cloud.address=h:65536", "cloud.address", "at most 65535"),
        ("cloud.address=h:-1", "cloud.address", "should be host:port"),
        ("cloud.address=a b:1", "cloud.address", "should be host:port"),
        ("name=../up", "name", "should be a name: 1 to 63 letters"),
        (f"name={'x' * 64}", "name", "should be a name"),
        ("edges=[]", "edges", "should name at least one"),
        ("edges=3", "edges", "should be a list, got 3"),
        ("edges.0=east", "edges.0", "should be a mapping of keys to values, got 'east'"),
        ("edges.0.name=1", "edges.0.name", "in quotes"),
        ("edges.0={devices: 2}", "edges.0.name", "this key is required"),
        ("edges.0.devices=[]", "edges.0.devices", "should name at least one"),
        ("edges.0.devices=0", "edges.0.devices", "a number from 1 to 9999, got 0"),
        ("edges.0.devices=true", "edges.0.devices", "got True"),
        ("edges.0.devices=[a/b]", "edges.0.devices.0", "should be a name"),
        ("edges.0.devices=[a, a]", "", "edges.0.devices.1 and edges.0.devices.0 have the same"),
        ("edges.east.name=west", "", "edges.1.name and edges.0.name have the same name 'west'"),
        ("edges.west.devices=[east]", "", "edges.1.devices.0 and edges.0.name have the same"),
        ("edges.west.devices=[cloud]", "", "edges.1.devices.0 and cloud have the same name"),
        ("edges.west.name=cloud", "", "edges.1.name and cloud have the same name 'cloud'"),
        ("data.validation=1", "data.validation", "less than 1, got 1"),
        ("data.homes={a: [east-0, east-9]}", "", "data.homes.a.1: no device is named 'east-9'"),
        ("data.homes={a: [east-0], b: [east-0]}", "", "have the same device 'east-0'"),
        ("data.homes={a: [east-0]}", "", "data.homes: east-1 is missing"),
        ("data.homes={a: []}", "data.homes.a", "should name at least one"),
        ("edges.1.capacity=2", "", "edges.1.capacity: west has 3 devices"),
        ("reach={west-9: [west]}", "", "reach.west-9: no device is named 'west-9'"),
        ("reach={west-0: [west, wset]}", "", "reach.west-0.1: no edge is named 'wset'; did"),
        ("links={device: {up: 1mb}}", "links.device.up", "should be a rate of at least 1kbit"),
        ("links={edge: {delay: 20}}", "links.edge.delay", "should be a string"),
        ("links={edge: {delay: 61s}}", "links.edge.delay", "should be a delay of at most a minute"),
        ("links={nodes: {west-0: {upp: 1mbit}}}", "links.nodes.west-0.upp",
         "did you mean links.nodes.west-0.up?"),
        ("links={nodes: {west-9: {up: 1mbit}}}", "", "links.nodes.west-9: no device or edge is"),
        ("reach={west-0: [east]}", "", "reach.west-0: should include its own edge, west"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(option, path, said):
    error = failure(None, option)
    assert error.path == path
    assert said in error.message
    if path:
        assert error.hint == f"This is given with --set {option}."


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("seed", "expected key=value"),
        ("=1", "expected key=value"),
        ("a..b=1", "expected key=value"),
        ("data.root=[", "'[': "),
        ("edges.2.name=x", "edges has no '2', only 2 entries, named east, west"),
        ("edges.-1.name=x", "edges has no '-1'"),
        ("edges.eest.devices=x", "edges has no 'eest'"),
        ("edges.0.devices.7=x", "edges.0.devices has no '7', only 3 entries"),
        ("edges.0.name.x=x", "edges.0.name is 'east' and has no keys"),
    ],
)
def test_a_wrong_option_is_named(option, said):
    error = failure(None, option)
    assert error.path == f"--set {option}"
    assert said in error.message


def test_two_parents_at_one_address():
    error = failure(None, "cloud.address=h:80", "edges.west.address=h:80")
    assert error.message == "edges.1.address and cloud.address have the same address 'h:80'"


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("", "{file}", "the file is empty"),
        ("# nothing\n", "{file}", "the file is empty"),
        ("- a\n", "{file}", "expected a mapping of keys to values, got a list"),
        ("seed: 1\n", "edges", "names no edges"),
        ("seed: 1\na: b: c\n", "{file}:2:5", "mapping values are not allowed here"),
        ("seed: 1\nseed: 2\n" + EDGES, "{file}:2:1", "the key 'seed' is given twice"),
        ("data: {root: a, root: b}\n" + EDGES, "{file}:1:17", "the key 'root' is given twice"),
        ("seed: \x00\n", "{file}", "is not valid YAML"),
        ("sed: 1\n" + EDGES, "sed", "did you mean seed?"),
        ("1: 1\n" + EDGES, "1", "should be strings"),
    ],
)
def test_a_wrong_file_is_named(write, text, path, said):
    file = write(text)
    error = failure(file)
    assert error.path == path.format(file=file)
    assert said in error.message
    assert str(file) in render(error)


def test_a_file_that_cannot_be_read(tmp_path):
    missing = tmp_path / "missing.yaml"
    assert render(failure(missing)) == f"error: {missing}: there is no such file"
    assert "cannot be read" in failure(tmp_path).message
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    assert "is not UTF-8 text" in failure(tmp_path / "latin.yaml").message


def test_all_that_is_wrong_is_shown_at_once(write):
    file = write("seed: x\nedges: [{name: east, devices: 2, adress: here}]\n")
    error = failure(file, "algorithm.momentum=2")
    assert render(error).splitlines() == [
        f"error: {file}: 3 keys are wrong",
        "  seed: should be an integer, got 'x'",
        "  algorithm.momentum: should be less than 1, got 2"
        " (given with --set algorithm.momentum=2)",
        "  edges.0.adress: there is no such key; did you mean edges.0.address?",
    ]


def test_a_name_that_looks_like_a_number_stays_a_name() -> None:
    config = load_config(None, ["name='0E0'"])
    assert config.name == "0E0"
    assert read_config(config.to_yaml()) == config


def test_a_task_of_ones_own_names_the_model_and_the_data_that_are_its_own():
    assert load_config(None, ["task=mine:Task"]).data_name == "mine:Task"
    assert load_config(None, ["task=mine:Task", "data.dataset={csv: {}}"]).data_name == "csv"
    assert load_config(None).data_name == "fashion-mnist"
    assert load_config(None, ["task=mine:Task"]).model_name == "mine:Task"
    assert load_config(None, ["task=mine:Task", "model=mlp"]).model_name == "mlp"
    assert load_config(None).model_name == "cnn"
