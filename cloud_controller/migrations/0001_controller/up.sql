CREATE TABLE quota_definitions (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    non_basic_services_allowed BOOLEAN NOT NULL,
    total_services INTEGER NOT NULL,
    total_routes INTEGER NOT NULL,
    memory_limit INTEGER NOT NULL,
    instance_memory_limit INTEGER NOT NULL,
    app_instance_limit INTEGER NOT NULL,
    app_task_limit INTEGER NOT NULL,
    total_service_keys INTEGER NOT NULL,
    total_private_domains INTEGER NOT NULL,
    total_reserved_route_ports INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE organizations (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    billing_enabled BOOLEAN NOT NULL,
    quota_guid TEXT NOT NULL REFERENCES quota_definitions (guid),
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE spaces (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    org_guid TEXT NOT NULL REFERENCES organizations (guid),
    allow_ssh BOOLEAN NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP,
    UNIQUE (org_guid, name_key)
);

CREATE TABLE users (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    username TEXT,
    username_key TEXT,
    admin BOOLEAN NOT NULL,
    active BOOLEAN NOT NULL,
    default_space_guid TEXT REFERENCES spaces (guid) ON DELETE SET NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);
CREATE INDEX users_by_name ON users (username_key);

CREATE TABLE org_roles (
    org_guid TEXT NOT NULL REFERENCES organizations (guid) ON DELETE CASCADE,
    user_guid TEXT NOT NULL REFERENCES users (guid) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (org_guid, user_guid, role)
);
CREATE INDEX org_roles_by_user ON org_roles (user_guid);

CREATE TABLE space_roles (
    space_guid TEXT NOT NULL REFERENCES spaces (guid) ON DELETE CASCADE,
    user_guid TEXT NOT NULL REFERENCES users (guid) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (space_guid, user_guid, role)
);
CREATE INDEX space_roles_by_user ON space_roles (user_guid);

CREATE TABLE stacks (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE domains (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    owner_org_guid TEXT REFERENCES organizations (guid),
    internal BOOLEAN NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE domain_shares (
    domain_guid TEXT NOT NULL REFERENCES domains (guid) ON DELETE CASCADE,
    org_guid TEXT NOT NULL REFERENCES organizations (guid) ON DELETE CASCADE,
    PRIMARY KEY (domain_guid, org_guid)
);

CREATE TABLE routes (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    domain_guid TEXT NOT NULL REFERENCES domains (guid),
    path TEXT NOT NULL,
    space_guid TEXT NOT NULL REFERENCES spaces (guid),
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP,
    UNIQUE (host, domain_guid, path)
);
CREATE INDEX routes_by_space ON routes (space_guid);

CREATE TABLE apps (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    space_guid TEXT NOT NULL REFERENCES spaces (guid),
    stack_guid TEXT NOT NULL REFERENCES stacks (guid),
    memory INTEGER NOT NULL,
    instances INTEGER NOT NULL,
    disk_quota INTEGER NOT NULL,
    state TEXT NOT NULL,
    package_state TEXT NOT NULL,
    command TEXT,
    buildpack TEXT,
    health_check_type TEXT NOT NULL,
    health_check_timeout INTEGER,
    health_check_http_endpoint TEXT,
    diego BOOLEAN NOT NULL,
    enable_ssh BOOLEAN NOT NULL,
    environment TEXT,
    version TEXT NOT NULL,
    staging_task_id TEXT,
    staging_failed_reason TEXT,
    staging_failed_description TEXT,
    detected_buildpack TEXT,
    detected_buildpack_guid TEXT,
    detected_start_command TEXT,
    package_key TEXT,
    package_sha1 TEXT,
    package_updated_at TIMESTAMP,
    droplet_key TEXT,
    droplet_sha1 TEXT,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP,
    UNIQUE (space_guid, name_key)
);

CREATE TABLE route_mappings (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    app_guid TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    route_guid TEXT NOT NULL REFERENCES routes (guid) ON DELETE CASCADE,
    app_port INTEGER,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP,
    UNIQUE (app_guid, route_guid)
);
CREATE INDEX route_mappings_by_route ON route_mappings (route_guid);

CREATE TABLE buildpacks (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    blob_key TEXT,
    position INTEGER NOT NULL,
    enabled BOOLEAN NOT NULL,
    locked BOOLEAN NOT NULL,
    filename TEXT,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE staging_tasks (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    app_guid TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    package_key TEXT NOT NULL,
    stager_id TEXT,
    accepted_at TIMESTAMP,
    deadline_at TIMESTAMP NOT NULL,
    droplet_sha1 TEXT,
    created_at TIMESTAMP NOT NULL
);
CREATE INDEX staging_tasks_by_app ON staging_tasks (app_guid);

CREATE TABLE orders (
    id INTEGER PRIMARY KEY NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    owner TEXT NOT NULL,
    claimed_until TIMESTAMP NOT NULL,
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE events (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    actor_type TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    actee TEXT NOT NULL,
    actee_type TEXT NOT NULL,
    actee_name TEXT NOT NULL,
    metadata TEXT NOT NULL,
    space_guid TEXT NOT NULL,
    org_guid TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL
);
CREATE INDEX events_by_actee ON events (actee);
CREATE INDEX events_by_space ON events (space_guid);
CREATE INDEX events_by_time ON events (created_at);

CREATE TABLE jobs (
    id INTEGER PRIMARY KEY NOT NULL,
    guid TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    error TEXT,
    owner TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE feature_flags (
    name TEXT PRIMARY KEY NOT NULL,
    enabled BOOLEAN NOT NULL,
    error_message TEXT
);

CREATE TABLE env_groups (
    name TEXT PRIMARY KEY NOT NULL,
    body TEXT NOT NULL
);
