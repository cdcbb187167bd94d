"""What a node does."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import hierfl
from digits_onebit.task import Net, load_data
from digits_onebit.task import test as test_fn
from digits_onebit.task import train as train_fn

app = ClientApp(mods=[hierfl.flower.onebit()])


def prepare(msg: Message, context: Context):
    """Return the model that came with a message, and the node's training and test set."""
    net = Net()
    net.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    node = context.node_config
    return net, *load_data(node["partition-id"], node["num-partitions"])


@app.train()
def train(msg: Message, context: Context):
    net, data, _ = prepare(msg, context)
    loss = train_fn(
        net,
        data,
        context.run_config["local-epochs"],
        msg.content["config"]["lr"],
        context.run_config["batch-size"],
        seed=msg.content["config"]["server-round"],
    )
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(data)})
    arrays = ArrayRecord(net.state_dict())
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context):
    net, _, data = prepare(msg, context)
    loss, accuracy = test_fn(net, data)
    metrics = MetricRecord({"eval_loss": loss, "eval_acc": accuracy, "num-examples": len(data)})
    return Message(RecordDict({"metrics": metrics}), reply_to=msg)
