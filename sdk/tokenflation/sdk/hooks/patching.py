"""Puts functions over class attributes of libraries that may not be imported yet, and takes them off again.

Knows nothing of HTTP or of what the functions do.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["Layer", "Layers", "when_imported"]

_LAYER = "__tokenflation_layer__"

_waiting: dict[str, list[tuple[Callable[[ModuleType], None], Callable[[], bool]]]] = {}
"""Module -> the actions that wait for it, and whether each is still wanted."""


@dataclass(slots=True)
class Layer:
    """One function of ours over a class attribute."""

    owner: Any
    name: str
    shell: Any
    original: Any
    live: bool = True
    """False once it was taken off: if another wrapper still calls it, it passes everything through."""


def when_imported(name: str, action: Callable[[ModuleType], None], wanted: Callable[[], bool]) -> None:
    """Run `action` on the module of this name: at once if it is imported already, else right after it is.

    A module that is being imported, and imports what begins to record, has not yet what it will have: it waits as well.
    What waits and is no longer `wanted` is let go of, so that a host that switches the recorder on and off for years
    piles nothing up.
    """
    module = sys.modules.get(name)
    if module is not None and not _is_half(module):
        if wanted():
            action(module)
        return
    if name not in _waiting and module is not None:
        module.__dict__["__spec__"].__class__ = _Half
    elif name not in _waiting:
        # wrapt costs 70 ms to import: programs that import the recorder without switching it on must not pay for it.
        from wrapt import register_post_import_hook

        register_post_import_hook(partial(_imported, name), name)  # once: wrapt cannot forget it
    _waiting[name] = [*((one, still) for one, still in _waiting.get(name, ()) if still()), (action, wanted)]


def _imported(name: str, module: ModuleType) -> None:
    for action, wanted in _waiting.pop(name, []):
        if wanted():
            action(module)


def _is_half(module: ModuleType) -> bool:
    """Return whether the import of a module is under way, and says when it ends."""
    spec = module.__dict__.get("__spec__")
    return type(spec) in (ModuleSpec, _Half) and bool(getattr(spec, "_initializing", False))


class _Half(ModuleSpec):
    """The spec of a module that is being imported: the import system says on it when that is over.

    What waits for the module is done then, or after a later import, if this one fails. Nothing else is told of the end
    of an import that has begun: finders and loaders have done their part by then, and whoever imports the module from
    another thread to wait for it comes too late for what its importer does next. A plain spec again from then on.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "_initializing" and not value:
            self.__class__ = ModuleSpec  # type: ignore[assignment]
            module = sys.modules.get(self.name)
            for action, wanted in _waiting.pop(self.name, []):
                if module is None or module.__spec__ is not self:
                    when_imported(self.name, action, wanted)
                elif wanted():
                    action(module)


class Layers(list[Layer]):
    """Layers that come off together, and what waits for modules in order to put more on."""

    live = True

    def cover(self, owner: Any, name: str, make_shell: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by `make_shell(original)`."""
        original = _beneath_dead_layers(owner.__dict__[name])
        # A wrapper by wrapt learns the instance only if it is taken from the class, as a call would take it.
        bind = getattr(original, "__get__", None)
        shell = make_shell(bind(None, owner) if bind is not None else original)
        layer = Layer(owner, name, shell, original)
        setattr(shell, _LAYER, layer)
        self.append(layer)
        setattr(owner, name, shell)

    def when_imported(self, name: str, action: Callable[[ModuleType], None]) -> None:
        """Run `action` as `when_imported` does, unless all have come off by then."""
        when_imported(name, action, wanted=lambda: self.live)

    def undo(self) -> None:
        """Take all off, and put none on any more; calling it again does nothing.

        Each attribute is the original object again, unless somebody else's wrapper lies on top.
        """
        self.live = False
        while self:
            layer = self.pop()
            layer.live = False
            if layer.owner.__dict__.get(layer.name) is layer.shell:
                setattr(layer.owner, layer.name, _beneath_dead_layers(layer.original))


def _beneath_dead_layers(function: Any) -> Any:
    """Return what lies under layers of ours that were taken off while another wrapper covered them."""
    while True:
        layer = getattr(function, _LAYER, None)
        # A wrapper made with functools.wraps carries a copy of our attribute: it is ours only if it names itself.
        if not isinstance(layer, Layer) or layer.shell is not function or layer.live:
            return function
        function = layer.original
