"""How results look in a terminal: tables, trees and sentences; or as JSON and CSV for programs."""

__all__: list[str] = []
