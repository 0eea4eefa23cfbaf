"""Theory by interpretation: the limit of infinite width, and what comes next in 1/M, of any program."""

from mcnet.theory.program.cumulants import Cumulants, cumulants
from mcnet.theory.program.expansions import Expansion, expansion
from mcnet.theory.program.limits import Limit, limit
from mcnet.theory.program.population import Population

__all__ = ["Cumulants", "Expansion", "Limit", "Population", "cumulants", "expansion", "limit"]
