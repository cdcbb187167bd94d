"""The texts of topology.yaml, hosts.yaml and README.md."""

from __future__ import annotations

from deploy.project.choices import Choices

HUB = "192.0.2.1"
"""An address that documents use (RFC 5737); edges have the following ones."""

TOPOLOGY = """\
# The federation {name}: what is learnt, on whose data, and on which machines.
# `hierfl validate topology.yaml` checks it; hierfl's docs/data.md and docs/tasks.md say more.
name: {name}

# The class in task.py, beside this file.
task: task:{class_name}

{data}

algorithm:
  name: hier-signsgd  # one bit per coordinate and step; others: ef-lion, hier-sgd, ...
  lr: 0.005
  edge_steps: 10      # votes of the devices between two averages of the edges
  rounds: 20

{cloud}\
edges:
{edges}
"""

OWN_DATA = """\
data:
  # Each node's own folder; {name} stands for the node's name. On a machine of its own a node may
  # have another: --set data.root=/home/pi/data
  root: "data/{name}"
  partition: {kind: own}  # a device trains on what is there, and on nothing else
  validation: 0.1         # but a tenth, which is held out to judge the model"""

NAMED_DATA = """\
data:
  dataset: {dataset}
  # Devices get equal shares; {{kind: dirichlet, alpha: 0.3}} gives them unequal ones.
  partition: {{kind: iid}}"""

SECURITY = """\
# Certificates, made by `hierfl certs`, and where each machine listens: set your own addresses.
security: {{certs: certs}}
cloud: {{address: "{hub}:4700"}}
"""

HOSTS = """\
# The machines, and which nodes run on each: set your own addresses, here and in topology.yaml.
# `ssh` is what you would give to ssh; the user must be root or use sudo without a password.
hosts:
{hosts}
"""

README = """\
# {name}

{task} with {edges} and {devices} each, {data}.

| file | |
| --- | --- |
| `topology.yaml` | the federation: data, algorithm, nodes |
| `task.py` | what is learnt: `load`, `build`, `loss` and `metrics` |
{files}
## {first}

```
{run}
```

The results are in `runs/{name}`: `metrics.jsonl`, `model.safetensors` and more. To try the model on
samples:

```
hierfl evaluate runs/{name}{given}
```
{more}"""

OWN_MORE = """
## Your own data

Replace the made-up files in `data`, and change `load` in `task.py` if yours are in another form.
What all devices' data are like together (classes, mean and deviation) is found out before the model
is built. A device's folder is `data.root` in `topology.yaml`.
"""

HOSTS_MORE = """
## On your machines

Set their addresses in `topology.yaml` and `hosts.yaml`. Then

```
hierfl certs topology.yaml --out certs
hierfl deploy topology.yaml --hosts hosts.yaml
hierfl deploy topology.yaml --hosts hosts.yaml --apply
```

installs hierfl, `task.py` and the topology on each machine and starts its nodes; the second command
only shows what the third will do. {where}
"""


def topology_text(choices: Choices) -> str:
    """Return the text of topology.yaml."""
    data = OWN_DATA if choices.owns else NAMED_DATA.format(dataset=choices.data)
    edges = []
    for number, (edge, devices) in enumerate(choices.tree().items()):
        address = f', address: "{_edge_address(number)}:4701"' if choices.hosts else ""
        edges.append(f"  - {{name: {edge}{address}, devices: [{', '.join(devices)}]}}")
    return TOPOLOGY.format(
        name=choices.name, class_name=choices.class_name, data=data, edges="\n".join(edges),
        cloud=SECURITY.format(hub=HUB) if choices.hosts else "",
    )  # fmt: skip


def hosts_text(choices: Choices) -> str:
    """Return the text of hosts.yaml: the cloud, each edge and each device on a machine."""
    lines = [f"  - {{name: hub, ssh: root@{HUB}, nodes: [cloud]}}"]
    for number, (edge, devices) in enumerate(choices.tree().items()):
        lines.append(f"  - {{name: {edge}, ssh: root@{_edge_address(number)}, nodes: [{edge}]}}")
        data = ", data: /home/pi/data" if choices.owns else ""
        lines += [
            f"  - {{name: {device}, ssh: pi@{device}.local, nodes: [{device}]{data}}}"
            for device in devices
        ]
    return HOSTS.format(hosts="\n".join(lines))


def readme_text(choices: Choices) -> str:
    """Return the text of README.md."""
    files = "| `data/DEVICE` | made-up data of each device |\n" if choices.owns else ""
    files += "| `hosts.yaml` | the machines |\n" if choices.hosts else ""
    where = (
        "Data are not copied: each machine has its own, in the folder `data` of `hosts.yaml`."
        if choices.owns
        else f"The data set must be on each machine: `hierfl data get {choices.data}` there."
    )
    more = OWN_MORE if choices.owns else ""
    more += HOSTS_MORE.format(where=where) if choices.hosts else ""
    return README.format(
        name=choices.name,
        task=choices.task.capitalize(),
        edges=_many(choices.edges, "edge"),
        devices=_many(choices.devices, "device"),
        data="each with data of its own" if choices.owns else f"on {choices.data}",
        files=files,
        first="Try it on this machine" if choices.hosts else "Run it",
        run="\n".join(first_commands(choices)),
        given=_tried_on(choices),
        more=more,
    )


def first_commands(choices: Choices) -> list[str]:
    """Return the commands that run the federation for the first time, in its folder."""
    get = [] if choices.owns else [f"hierfl data get {choices.data}"]
    memory = " --set runtime=memory" if choices.hosts else ""
    return [*get, f"hierfl run topology.yaml{memory} --out runs/{choices.name}"]


def _tried_on(choices: Choices) -> str:
    """Return the options of `hierfl evaluate`: on which samples, and what is written of them."""
    return (" --data data/device-1" if choices.owns else "") + " --out scores.csv"


def _edge_address(number: int) -> str:
    return f"192.0.2.{number + 2}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count != 1 else "")
