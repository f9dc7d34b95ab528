"""Reason codes of RouterOS, beside those of `agent.reasons`."""

from __future__ import annotations

from agent.reasons import LETS_OUT, ExplainedReason


class RouterReason(ExplainedReason):
    """Reasons that only RouterOS has."""

    AGENT_IN_LIST = (
        "agent-in-list",
        "A list of suspended subscribers holds the address from which the agent reaches the router.",
        "Take that address out of the list, or use another list.",
    )
    AMBIGUOUS_ENTRY = (
        "ambiguous-entry",
        "The address list has several entries of one address.",
        "Remove the duplicates.",
    )
    BLOCKED = (
        "blocked",
        "The lease or an ip-binding blocks the client: it has no access in any state.",
        "Remove the block.",
    )
    BY_RADIUS = "by-radius", "The entry comes from RADIUS.", "Use a RADIUS method for this service."
    BYPASSED = "bypassed", "An ip-binding lets the client pass without a login.", "Remove the ip-binding.", LETS_OUT
    DYNAMIC_ENTRY = "dynamic-entry", "The address list's entry is dynamic.", "Remove what adds it, or use another list."
    DYNAMIC_LEASE = "dynamic-lease", "The DHCP lease is dynamic.", "Make it static."
    FASTTRACK_BYPASSES_QUEUES = (
        "fasttrack-bypasses-queues",
        "FastTrack takes the traffic past the queues.",
        "Exclude the addresses from FastTrack.",
        LETS_OUT,
    )
    NO_FIXED_ADDRESS = "no-fixed-address", "The lease has no fixed address.", "Set the lease's address."
    NO_HOTSPOT = "no-hotspot", "No hotspot server runs on the router.", "Enable the hotspot server.", LETS_OUT
    NO_QUEUE = "no-queue", "The service's queue is gone.", "Create it, or ask again.", LETS_OUT
    SEVERAL_QUEUES = "several-queues", "The service has several queues.", "Remove all but one."
    NOT_A_SUBSCRIBER = (
        "not-a-subscriber",
        "The user belongs to the router itself.",
        "Correct the login in the subscriber list.",
    )
    NOT_AN_ADDRESS = "not-an-address", "The login is no address.", "Correct the login in the subscriber list."
    NOT_SHAPED = "not-shaped", "The method shapes nobody on this tariff.", "Configure a limit, or use another method."
    SAFE_MODE = (
        "safe-mode",
        "A safe mode is open on the router: it would undo the change.",
        "Release it, or wait: the change goes on when it is over.",
    )
    OTHER_LIMIT = "other-limit", "The entry has another limit than its tariff has.", "Look at who changed it."
    OTHER_LIST = "other-list", "The entry is in another list.", "Look at who changed it."
    OTHER_RULE = (
        "other-rule",
        "A rule of the agent's was changed, and the list is not kept in.",
        "Put right on the router what the detail names; or remove the agent's rules of the list, and ask again.",
    )
    OTHER_PROFILE = "other-profile", "The entry has another profile than its tariff has.", "Look at who changed it."
    POOL_ADDRESS = (
        "pool-address",
        "The address belongs to a pool.",
        "Use a method for sessions, or take the address out of the pool.",
    )
    PROXY_NOT_HELD = (
        "proxy-not-held",
        "The hotspot's transparent proxy passes by the list.",
        "Switch the transparent proxy off.",
        LETS_OUT,
    )
    DYNAMIC_QUEUE = "dynamic-queue", "The service's queue is dynamic.", "Create a static one."
    DISABLED_QUEUE = "disabled-queue", "The service's queue is disabled.", "Enable it.", LETS_OUT
    INVALID_QUEUE = "invalid-queue", "The service's queue is invalid.", "Correct it on the router.", LETS_OUT
    QUEUE_IN_PART = (
        "queue-in-part",
        "The service's queue takes only part of the traffic.",
        "Remove the conditions that the detail names.",
        LETS_OUT,
    )
    QUEUE_PARENT = (
        "queue-parent",
        "The parent of the service's queue may not take all of its traffic.",
        "Read the detail.",
        LETS_OUT,
    )
    QUEUE_BEHIND = (
        "queue-behind",
        "Another queue takes the traffic first.",
        "Move the service's queue before it.",
        LETS_OUT,
    )
    QUEUE_BURST = "queue-burst", "The queue allows bursts above its limit.", "Remove the burst limit.", LETS_OUT
    QUEUE_GUARANTEED = (
        "queue-guaranteed",
        "The queue guarantees more than the limit that is wanted.",
        "Lower limit-at.",
        LETS_OUT,
    )
    WIDER_ENTRY = "wider-entry", "A wider entry of the list covers other addresses too.", "Split the entry."


class RouterFinding(ExplainedReason):
    """Findings of a health check of a router."""

    API_OPEN = "api-open", "The API may be reached from any address.", "Set the service's address."
    API_PLAIN = "api-plain", "The API is offered without TLS as well.", "Switch the plain API off."
    API_SESSIONS = "api-sessions", "Most of the API's sessions are in use.", "Close sessions, or raise max-sessions."
    CLOCK = "clock", "The router's clock is wrong.", "Correct it."
    CPU = "cpu", "The router's CPU load is above the configured limit.", "Wait, or find the cause."
    FLAGGED = (
        "flagged",
        "Device-mode is flagged: RouterOS found suspicious configuration.",
        "Look at the configuration before you trust it.",
    )
    INSECURE = "insecure", "The API is spoken without TLS.", "Use api-ssl."
    MEMORY = "memory", "Little memory is free.", "Find the cause, or restart the router."
    NO_SCHEDULER = (
        "no-scheduler",
        "Device-mode forbids the scheduler.",
        "Allow it: guarded configuration changes need it.",
    )
    NTP_OFF = "ntp-off", "The NTP client is off.", "Switch it on."
    RADIUS_NO_COA = "radius-no-coa", "The router accepts no CoA or Disconnect.", "Enable /radius/incoming."
    RADIUS_NO_SERVER = (
        "radius-no-server",
        "PPP logins go to RADIUS, and no server is enabled.",
        "Enable a server for ppp.",
    )
    SERIAL_UNSET = "serial-unset", "No serial number is configured.", "Set it as the detail says."
    USERS_SEE_UNLIKE = (
        "users-see-unlike",
        "The router's users see different things.",
        "Give them the policies that the detail names.",
    )
    VERSION_UNKNOWN = (
        "version-unknown",
        "This version of RouterOS is not known.",
        "Only service changes are made; report the version.",
    )
    READ_LOGIN = "read-login", "The user for reading cannot log in.", "Check its password and policies."
    SERVICE_LOGIN = "service-login", "The user for service changes cannot log in.", "Check its password and policies."
    CONFIG_LOGIN = "config-login", "The user for configuration cannot log in.", "Check its password and policies."
    READ_POLICIES_MISSING = (
        "read-policies-missing",
        "The user for reading lacks policies.",
        "Grant those that the detail names.",
    )
    SERVICE_POLICIES_MISSING = (
        "service-policies-missing",
        "The user for service changes lacks policies.",
        "Grant those that the detail names.",
    )
    CONFIG_POLICIES_MISSING = (
        "config-policies-missing",
        "The user for configuration lacks policies.",
        "Grant those that the detail names.",
    )
    READ_POLICIES_SUPERFLUOUS = (
        "read-policies-superfluous",
        "The user for reading has more policies than it needs.",
        "Take those away that the detail names.",
    )
    SERVICE_POLICIES_SUPERFLUOUS = (
        "service-policies-superfluous",
        "The user for service changes has more policies than it needs.",
        "Take those away that the detail names.",
    )
    CONFIG_POLICIES_SUPERFLUOUS = (
        "config-policies-superfluous",
        "The user for configuration has more policies than it needs.",
        "Take those away that the detail names.",
    )
    READ_POLICIES_UNKNOWN = (
        "read-policies-unknown",
        "The policies of the user for reading could not be read.",
        "Check the user's group.",
    )
    SERVICE_POLICIES_UNKNOWN = (
        "service-policies-unknown",
        "The policies of the user for service changes could not be read.",
        "Check the user's group.",
    )
    CONFIG_POLICIES_UNKNOWN = (
        "config-policies-unknown",
        "The policies of the user for configuration could not be read.",
        "Check the user's group.",
    )
