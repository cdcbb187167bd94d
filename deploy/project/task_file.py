"""The text of task.py: a class with the four functions of a task, complete for its samples."""

from __future__ import annotations

from deploy.project.choices import Choices

HEAD = '''"""What {name} learns: the four functions that hierfl calls."""

from __future__ import annotations

{imports}

import hierfl


class {class_name}(hierfl.{base}):
'''

IMPORTS = {
    True: "import numpy as np\nimport torch\nfrom torch import nn\nfrom torch.nn import functional",
    False: "import math\n\nimport torch\nfrom torch import nn\nfrom torch.nn import functional",
}

BASES = {
    "classification": "Classification",
    "regression": "Task",
    "reconstruction": "Reconstruction",
    "segmentation": "Segmentation",
    "next-token": "NextToken",
}

LOAD_NAMED = '''
    def load(self, node: hierfl.Node) -> hierfl.Data:
        """Return the data set that the topology names: every node has the whole of it."""
        return super().load(node)
'''

_CSV = '''
    def load(self, node: hierfl.Node) -> hierfl.Data:
        """Return the rows of the CSV files in this node's folder, node.root."""
        files = sorted(node.root.glob("*.csv"))
        if not files:
            raise FileNotFoundError(f"{{node.root}} holds no CSV files")
        tables = [np.loadtxt(f, np.float32, delimiter=",", skiprows=1, ndmin=2) for f in files]
        table, names = np.concatenate(tables), files[0].read_text().split()[0].split(",")
        return hierfl.Data({samples}, columns={columns}, raw=True)  # raw: to be standardised
'''

LOADS = {
    "classification": _CSV.format(samples="(table[:, :-1], table[:, -1])", columns="names[:-1]"),
    "regression": _CSV.format(samples="(table[:, :-1], table[:, -1])", columns="names[:-1]"),
    "reconstruction": _CSV.format(samples="table", columns="names"),
    "segmentation": '''
    def load(self, node: hierfl.Node) -> hierfl.Data:
        """Return the images in this node's folder, and the class of each pixel."""
        arrays = np.load(node.root / "images.npz")
        return hierfl.Data((arrays["x"], arrays["y"]))  # uint8 [n, 1, h, w], int64 [n, h, w]
''',
    "next-token": '''
    def load(self, node: hierfl.Node) -> hierfl.Data:
        """Return pieces of the texts in this node's folder: 33 bytes each, uint8 [n, 33]."""
        text = b"".join(file.read_bytes() for file in sorted(node.root.glob("*.txt")))
        whole = len(text) // 33 * 33
        return hierfl.Data(np.frombuffer(text[:whole], np.uint8).reshape(-1, 33).copy())
''',
}

_MLP = '''
    def build(self, facts: hierfl.Facts) -> nn.Module:
        """Return the model; facts are of all nodes' data together."""
        return nn.Sequential(
            nn.Flatten(), nn.Linear({inputs}, 32), nn.ReLU(), nn.Linear(32, {outputs})
        )
'''

_AUTOENCODER = '''
    def build(self, facts: hierfl.Facts) -> nn.Module:
        """Return the model: an autoencoder; facts are of all nodes' data together."""
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear({inputs}, 32),
            nn.ReLU(),
            nn.Linear(32, {narrow}),  # what is unusual does not pass here
            nn.ReLU(),
            nn.Linear({narrow}, 32),
            nn.ReLU(),
            nn.Linear(32, {inputs}),
            nn.Unflatten(1, facts.shape),
        )
'''

_SEGMENTER = '''
    def build(self, facts: hierfl.Facts) -> nn.Module:
        """Return the model; facts are of all nodes' data together."""
        return nn.Sequential(
            nn.Conv2d(facts.shape[0], 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, facts.classes, 3, padding=1),
        )
'''

_RECURRENT = '''
    def build(self, facts: hierfl.Facts) -> nn.Module:
        """Return the model; facts are of all nodes' data together."""
        return Recurrent()
'''

RECURRENT = '''

class Recurrent(nn.Module):
    """Says for each byte of a text what may come next: float32 [k, n, 256] for int64 [k, n]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 32)
        self.recur = nn.GRU(32, 64, batch_first=True)
        self.head = nn.Linear(64, 256)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.recur(self.embed(tokens))[0])
'''

_TARGETS = {
    "classification": '''
    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the mean loss over a batch."""
        inputs, labels = batch
        return functional.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict:
        """Return sums over a batch, and over how many examples; figures are their quotients."""
        inputs, labels = batch
        right = model(inputs).argmax(1) == labels
        return {"examples": len(labels), "accuracy": right.sum()}
''',
    "regression": '''
    targets = "values"  # real numbers, not classes

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the mean loss over a batch."""
        inputs, values = batch
        return functional.mse_loss(model(inputs)[:, 0], values)

    def metrics(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict:
        """Return sums over a batch, and over how many examples; figures are their quotients."""
        inputs, values = batch
        error = model(inputs)[:, 0] - values
        return {"examples": len(values), "mse": error.square().sum(), "mae": error.abs().sum()}

    def scores(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict:
        """Return what `hierfl evaluate --out` writes of each sample."""
        return {"prediction": model(batch[0])[:, 0]}
''',
    "reconstruction": '''
    def loss(self, model: nn.Module, batch: {batch}) -> torch.Tensor:
        """Return the mean loss over a batch."""
        inputs = {inputs_of}
        return functional.mse_loss(model(inputs), inputs)

    def metrics(self, model: nn.Module, batch: {batch}) -> dict:
        """Return sums over a batch, and over how many examples; figures are their quotients."""
        inputs = {inputs_of}
        error = (model(inputs) - inputs).square().flatten(1).mean(1)
        return {{"examples": len(inputs), "mse": error.sum()}}
''',
    "segmentation": '''
    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the mean loss over a batch: of all pixels."""
        inputs, labels = batch
        return functional.cross_entropy(model(inputs), labels)

    def metrics(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> dict:
        """Return sums over a batch, and over how many examples: here those of mean IoU."""
        return super().metrics(model, batch)
''',
    "next-token": '''
    def loss(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean loss over a batch: of all places in all texts."""
        tokens = batch.long()
        outputs = model(tokens[:, :-1])
        return functional.cross_entropy(outputs.flatten(0, 1), tokens[:, 1:].flatten())

    def metrics(self, model: nn.Module, batch: torch.Tensor) -> dict:
        """Return sums over a batch, and over how many examples: here those of perplexity."""
        return super().metrics(model, batch)
''',
}


def task_text(choices: Choices) -> str:
    """Return the text of task.py."""
    base, task = BASES[choices.task], choices.task
    head = HEAD.format(
        name=choices.name, imports=IMPORTS[choices.owns], class_name=choices.class_name, base=base
    )
    inputs = "facts.shape[0]" if choices.owns else "math.prod(facts.shape)"
    builds = {
        "classification": _MLP.format(inputs=inputs, outputs="facts.classes"),
        "regression": _MLP.format(inputs=inputs, outputs="1"),
        "reconstruction": _AUTOENCODER.format(inputs=inputs, narrow=3 if choices.owns else 16),
        "segmentation": _SEGMENTER,
        "next-token": _RECURRENT,
    }
    learns = _TARGETS[task]
    if task == "reconstruction":
        of = {True: ("torch.Tensor", "batch"), False: ("list[torch.Tensor]", "batch[0]")}
        batch, inputs_of = of[choices.owns]
        learns = learns.format(batch=batch, inputs_of=inputs_of)
    load = LOADS[task] if choices.owns else LOAD_NAMED
    text = head + load.lstrip("\n") + builds[task] + learns
    return text + (RECURRENT if task == "next-token" else "")
