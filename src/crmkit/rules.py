"""Writing segment rules in Python: ``(f.total_spend >= 100) & did("visit", within="90d")``."""

from crmkit.segmentation.builder import Condition, did, did_not, f, in_segment

__all__ = ["Condition", "did", "did_not", "f", "in_segment"]
