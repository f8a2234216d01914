"""The table of objectives is `counterpoise.objectives`; this name of it is going."""

from counterpoise.objectives import OBJECTIVES, UNKNOWN, Objective, objective_name

__all__ = ["OBJECTIVES", "UNKNOWN", "Objective", "objective_name"]
