"""Storage in memory."""

from crmkit.adapters.memory.storage import MemoryStorage

__all__ = ["MemoryStorage"]
