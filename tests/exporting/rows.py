"""What exported graphs tell of rows, in onnxruntime.

    rows.py GRAPH VALUES [GRAPH VALUES ...]

A file of values holds those of each row, one behind the other, each with NUL behind it, in the order of the graph's inputs;
behind a time comes the offset of its clock. A line goes out for each row: JSON of what the graph tells.
"""

import json
import sys

import numpy as np
import onnxruntime


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feed(session, values):
    """The inputs of all rows, by their names."""
    offsets = {node.name for node in session.get_overridable_initializers()}
    names = []
    for node in session.get_inputs():
        names.append((node.name, node.type))
        names += [(name, "tensor(double)") for name in (f"{node.name} offset",) if name in offsets]
    fed = {}
    for place, (name, kind) in enumerate(names):
        texts = values[place :: len(names)]
        if kind == "tensor(string)":
            column = np.array(texts, object)
        else:
            column = np.array([float(text) if text else np.nan for text in texts], "f8")
        fed[name] = column.reshape(-1, 1)
    return fed


def tell(path, values):
    """What a graph tells of rows."""
    session = session_of(path)
    told = session.run(None, feed(session, values))
    for row in zip(*told):
        yield {node.name: part if isinstance(part, str) else part.tolist() for node, part in zip(session.get_outputs(), row)}


def values_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read().split("\0")[:-1]


if __name__ == "__main__":
    for graph, values in zip(sys.argv[1::2], sys.argv[2::2]):
        for row in tell(graph, values_of(values)):
            print(json.dumps(row))
