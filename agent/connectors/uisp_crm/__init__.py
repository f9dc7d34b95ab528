"""UISP CRM (formerly UCRM): accounts, payments and webhooks, over its API. It is only read."""

from agent.connectors.uisp_crm.spec import SPEC

__all__ = ["SPEC"]
