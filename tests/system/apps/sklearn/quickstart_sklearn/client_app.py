"""quickstart_sklearn: the ClientApp."""

import warnings

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from sklearn.metrics import log_loss

from quickstart_sklearn.task import create_model, get_model_params, load_data, set_model_params

app = ClientApp()


def prepare(msg: Message, context: Context):
    """Return the model that came with a message, and this partition's data."""
    model = create_model(context.run_config["local-epochs"])
    set_model_params(model, msg.content["arrays"].to_numpy_ndarrays())
    node = context.node_config
    return model, load_data(node["partition-id"], node["num-partitions"])


@app.train()
def train(msg: Message, context: Context):
    """Fit the model to local data."""
    model, (x, y, _, _) = prepare(msg, context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge in one iteration
        model.fit(x, y)
    metrics = {"num-examples": len(x), "train_logloss": log_loss(y, model.predict_proba(x))}
    arrays = ArrayRecord(get_model_params(model))
    content = RecordDict({"arrays": arrays, "metrics": MetricRecord(metrics)})
    return Message(content=content, reply_to=msg)


@app.evaluate()
def evaluate(msg: Message, context: Context):
    """Evaluate the model on local data."""
    model, (_, _, x, y) = prepare(msg, context)
    metrics = {
        "num-examples": len(x),
        "test_logloss": log_loss(y, model.predict_proba(x), labels=range(10)),
        "accuracy": model.score(x, y),
    }
    return Message(content=RecordDict({"metrics": MetricRecord(metrics)}), reply_to=msg)
