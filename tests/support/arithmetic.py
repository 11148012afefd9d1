"""Evaluates the arithmetic that pictures print, without `eval`: 4 × 10 × (5 + 10), √variance."""

import ast
import operator

OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def arithmetic(text, names=None):
    """The value of `text`: numbers, `names` (values and functions), + − × / √ and brackets."""
    names = names or {}

    def value(node):
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATIONS[type(op)](value(left), value(right))
            case ast.UnaryOp(op=op, operand=operand):
                return OPERATIONS[type(op)](value(operand))
            case ast.Call(func=function, args=arguments, keywords=[]):
                return value(function)(*map(value, arguments))
        raise ValueError(f"{ast.unparse(node)} in {text!r} is no arithmetic")

    for symbol, spelled in {"×": "*", "−": "-", "√": "sqrt"}.items():
        text = text.replace(symbol, spelled)
    return value(ast.parse(text.strip(), mode="eval").body)


def construct(text, classes):
    """The object that a repr such as LSTM(5, 10, bidirectional=True) describes."""
    call = ast.parse(text, mode="eval").body
    options = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    return classes[call.func.id](*map(ast.literal_eval, call.args), **options)
