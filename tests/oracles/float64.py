"""A file of ONNX as its float model in float64, from which other runs have a distance."""

import numpy as np


def widened(proto):
    """Return a copy of a ModelProto that computes in float64, without quantised activations."""
    import onnx

    from recurrent.interchange.onnx.loading import graphs, tensors

    kinds, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper
    narrow = (kinds.FLOAT, kinds.FLOAT16)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _plain(onnx, copy.graph)
    for graph in graphs(onnx, copy.graph):
        for tensor in tensors(onnx, graph):
            if tensor.data_type in narrow:
                wide = numpy_helper.to_array(tensor).astype(np.float64)
                tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
        for info in [*graph.input, *graph.output, *graph.value_info]:
            if info.type.tensor_type.elem_type in narrow:
                info.type.tensor_type.elem_type = kinds.DOUBLE
        for node in graph.node:
            for a in list(node.attribute):
                if node.op_type == "Cast" and a.name == "to" and a.i in narrow:
                    a.i = kinds.DOUBLE
                if node.op_type == "Constant" and a.name in ("value_float", "value_floats"):
                    values = np.float64(helper.get_attribute_value(a))
                    node.attribute.remove(a)
                    value = numpy_helper.from_array(np.asarray(values))
                    node.attribute.append(helper.make_attribute("value", value))
            if node.op_type == "ConstantOfShape" and not node.attribute:
                value = numpy_helper.from_array(np.zeros(1))
                node.attribute.append(helper.make_attribute("value", value))
    return copy


def _plain(onnx, graph):
    """Replace the quantised operators of a graph by those that they approximate, weights rounded.

    Those are LSTM and MatMul with the weights that the codes stand for, and no rounding of data.
    """
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    arrays = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    names = iter(f"wide_{k}" for k in range(10**6))
    nodes = []

    def held(a):
        name = next(names)
        graph.initializer.append(numpy_helper.from_array(np.asarray(a), name))
        return name

    def real(codes, scale, zero):
        """Return the weights of codes (directions, K, 4*H) as (directions, 4*H, K)."""
        shape = (len(codes), 1, -1)
        wide = codes.astype(np.float64) - zero.reshape(shape)
        return (wide * scale.astype(np.float64).reshape(shape)).swapaxes(1, 2)

    for node in graph.node:
        given = [arrays.get(name) for name in node.input]
        if node.op_type == "DynamicQuantizeLSTM":
            inputs = list(node.input[:8])
            inputs[1:3] = held(real(given[1], *given[8:10])), held(real(given[2], *given[10:12]))
            own = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            nodes.append(helper.make_node("LSTM", inputs, node.output, node.name, **own))
        elif node.op_type == "DynamicQuantizeLinear":
            nodes.append(helper.make_node("Identity", node.input, node.output[:1]))
            for name, value in zip(node.output[1:], (np.float64(1), np.uint8(0)), strict=True):
                value = numpy_helper.from_array(np.asarray(value))
                nodes.append(helper.make_node("Constant", [], [name], value=value))
        elif node.op_type == "MatMulInteger":
            B = held(given[1].astype(np.float64) - given[3])
            nodes.append(helper.make_node("MatMul", [node.input[0], B], node.output))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
