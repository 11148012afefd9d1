"""The names that users import: removing or moving one of them breaks their code."""

from importlib import import_module
from inspect import isclass, isroutine
from operator import attrgetter

import recurrent

# `__all__` of each package.
PACKAGES = {
    "recurrent": """
        Activation Add Attention Both CRF CharLM Concat Conv1d Directions Dropout Embedding Engine
        GRU Gradients Graph Hold LSTM Last LayerNorm Linear MaxPool MeanPool Memory Multiply OneHot
        QRNN RNN ReLU Recurrent Residual Seq2Seq Sequential Sigmoid Softmax Tanh TruncatedBPTT cell
        ctc_beam_search ctc_greedy_decode
        data evaluate explain fit from_keras from_onnx from_torch get_num_threads gradcheck gru
        indrnn initialisers load losses lstm metrics mgu mingru minlstm optim predict presets qrnn
        release_memory rnn rnn_relu schedules score_partition set_num_threads sru to_onnx
        to_torch viterbi_decode warmup
        """,
    "viz": """
        Drawing Look RenderError attention cell compare curve explore gradients layer network task
        text unit units_like unrolled weights
        """,
}
# Names that each module has among others.
MODULES = {
    "recurrent.cells": """
        CELLS PAPERS PYTORCH Cell activation cfc clip cos echo_state exp fastgrnn find grud gru
        janet
        ligru log lstm ltc maximum mean mgu indrnn mingru minimum minlstm multiplicative_lstm
        nested_lstm phased_lstm product projection qrnn relu rnn rnn_relu sigmoid sin slstm softplus
        sqrt sru tanh trace_cell where
        """,
    "recurrent.charlm.presets": "PRESETS",
    "recurrent.conformance.selftest": "run",
    "recurrent.data": """
        Batch Batches Pair Pairs Scaler Shuffled SlidingWindows Windows fill_missing pad_sequences
        unpad_sequences
        """,
    "recurrent.engine": "Engine",
    "recurrent.initialisers": """
        Chrono Reservoir char_rnn keras min_char_rnn orthogonal pytorch torch_rnn
        """,
    "recurrent.interchange": "explain from_keras from_onnx from_torch to_onnx to_torch",
    "recurrent.layers": """
        Activation Add Attention CRF Concat Conv1d Dropout Embedding GRU Gradients Hold LSTM Last
        Layer
        LayerNorm Linear MaxPool MeanPool Memory Multiply OneHot QRNN RNN ReLU Recurrent Residual
        Sigmoid Softmax Tanh
        """,
    "recurrent.losses": """
        at_last_step binary_cross_entropy count_entries crf ctc huber mean_absolute_error
        mean_squared_error quantile softmax_cross_entropy summed_over_steps
        """,
    "recurrent.metrics": """
        accuracy at_last_step confusion_matrix label_error_rate macro_f1 mean_absolute_error
        root_mean_squared_error tag_accuracy
        """,
    "recurrent.optim": "Adagrad Adam AdamW Optimizer RMSprop SGD clip_norm clip_value",
    "recurrent.sklearn": "RecurrentClassifier RecurrentForecaster RecurrentRegressor",
    "recurrent.schedules": "Constant Cosine Exponential OneCycle ReduceOnPlateau StepDecay",
}
# Modules and classes whose public names, methods included, have numpydoc docstrings.
DOCUMENTED = ("data", "initialisers", "losses", "metrics", "optim", "schedules", "sklearn")
CLASSES = (
    "Engine", "layers.base.Layer", "models.base.Model", "Sequential", "Graph", "Seq2Seq", "CharLM",
)  # fmt: skip


def members(module):
    """The listed names of a module."""
    return {
        name: getattr(import_module(module), name) for name in (PACKAGES | MODULES)[module].split()
    }


def documented():
    """Everything whose docstring has to be numpydoc, by its qualified name."""
    values = [
        v
        for module in (*PACKAGES, *map("recurrent.{}".format, DOCUMENTED))
        for v in members(module).values()
    ]
    classes = [
        v for module in DOCUMENTED for v in members(f"recurrent.{module}").values() if isclass(v)
    ]
    classes += [attrgetter(path)(recurrent) for path in CLASSES]
    methods = [
        getattr(cls, name) for cls in classes for name in dir(cls) if not name.startswith("_")
    ]
    found = [*filter(isclass, values), *classes, *filter(isroutine, values + methods)]
    return {
        f"{value.__module__.split('.')[0]}.{value.__qualname__}": value
        for value in found
        if getattr(value, "__module__", "").split(".")[0] in PACKAGES
    }
