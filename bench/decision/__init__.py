"""How good the decisions of the guard are: on simulated apps and fleets, and beside other judges."""
