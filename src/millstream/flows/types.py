"""Node types: what a flow's nodes may be, and the registry of them. Immutable; holds no state.

A node type makes a function of a node's config: the function is a step like any other, whose
parameters are the node's input ports. Knows how nodes are described, not how they are run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import BaseModel, TypeAdapter

from millstream import values
from millstream.errors import NotFound, PipelineError, did_you_mean

INPUT, OUTPUT = "input", "out"
"""The names of a node's only ports, unless it says otherwise."""


class NoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The config of a node that has none."""


@dataclass(frozen=True, slots=True)
class Port:
    """Where edges end or begin. An input port is a parameter of the node's function.

    `type` is checked against the other end's. `required` input ports must have an edge; several
    may end in one that takes `many`, whose messages are merged as they come.
    """

    name: str
    type: Any = Any
    required: bool = True
    many: bool = True


Ports = tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """Where in its flow a node stands: its id, and the names of its ports."""

    flow: str
    node: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeType:
    """A kind of node: its ports, its config's model, and how its function is made.

    `inputs` and `outputs` may be functions of the config (and of what the node itself says), for
    nodes whose ports depend on it. `make` gives a fresh function for each node of each flow, so
    that what it remembers is that node's alone. `policies` are given to its step.
    """

    name: str
    make: Callable[..., Callable[..., Any]]
    config: Any = NoConfig
    inputs: Ports | Callable[[Any], Ports] = ()
    outputs: Ports | Callable[[Any], Ports] = (Port(OUTPUT),)
    doc: str = ""
    policies: Mapping[str, Any] = field(default_factory=dict)
    ports_of_node: bool = False
    """Whether the node's own `inputs` and `outputs` name its ports. Such a type's `make` gets a
    `Site` beside the config."""

    def configured(self, config: Mapping[str, Any]) -> Any:
        """The config as its model. Raises what msgspec or pydantic raise."""
        if values.uses_pydantic(self.config):
            return TypeAdapter(self.config).validate_python(dict(config))
        return msgspec.convert(dict(config), self.config)

    def ports(self, config: Any, said: tuple[Any, Any]) -> tuple[Ports, Ports]:
        """The input and output ports of a node with that config, which itself said these."""
        if self.ports_of_node:
            inputs, outputs = (tuple(map(_named, each or ())) for each in said)
            return inputs, outputs
        return _resolved(self.inputs, config), _resolved(self.outputs, config)

    def described(self) -> dict[str, Any]:
        """The type for an editor: ports, doc, and the config as JSON Schema."""
        return {
            "type": self.name,
            "doc": self.doc,
            "inputs": _listed(self.inputs, self.ports_of_node),
            "outputs": _listed(self.outputs, self.ports_of_node),
            "config": _schema(self.config),
        }


class NodeTypes(Mapping[str, NodeType]):
    """A registry: node types by name. `NodeTypes([*types.values(), mine])` has one more."""

    def __init__(self, types: Iterable[NodeType] = ()) -> None:
        self._types: dict[str, NodeType] = {}
        for each in types:
            if each.name in self._types:
                raise PipelineError(f"two node types are named {each.name!r}; rename one")
            self._types[each.name] = each

    def __getitem__(self, name: str) -> NodeType:
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)

    def find(self, name: str) -> NodeType:
        """The type of that name. Raises NotFound."""
        found = self._types.get(name)
        if found is None:
            raise NotFound(f"there is no node type {name!r}{did_you_mean(name, self._types)}")
        return found

    def described(self) -> list[dict[str, Any]]:
        """Every type, for an editor."""
        return [each.described() for each in self._types.values()]

    def __repr__(self) -> str:
        return f"<NodeTypes {', '.join(self._types)}>"


def _named(said: Any) -> Port:
    """A port as a node's document names it: its name, or an object with `id` or `name`."""
    if isinstance(said, Mapping):
        said = said.get("id", said.get("name"))
    return Port(str(said), required=False)


def _resolved(ports: Ports | Callable[[Any], Ports], config: Any) -> Ports:
    return ports(config) if callable(ports) else ports


def _listed(ports: Ports | Callable[[Any], Ports], of_node: bool) -> Any:
    if callable(ports) or of_node:
        return "as its config says" if callable(ports) else "as the node says"
    return [
        {"name": port.name, "type": values.describe(port.type), "required": port.required}
        for port in ports
    ]


def _schema(config: Any) -> dict[str, Any]:
    if isinstance(config, type) and issubclass(config, BaseModel):
        return config.model_json_schema()
    if values.uses_pydantic(config):
        return TypeAdapter(config).json_schema()
    (schema,), parts = msgspec.json.schema_components([config], ref_template="#/$defs/{name}")
    name = schema.get("$ref", "").rpartition("/")[2]
    own = parts.pop(name, schema)
    return {**own, "$defs": parts} if parts else own
