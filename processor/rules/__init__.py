"""Rules: the file a data engineer writes, checked and compiled."""

from processor.rules.load import RulesRefused, load_rules, parse_rules
from processor.rules.ruleset import Rule, RuleSet

__all__ = ["Rule", "RuleSet", "RulesRefused", "load_rules", "parse_rules"]
