CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL,
    user_name TEXT NOT NULL,
    -- The user name in lower case: names are unique whatever their case.
    user_key TEXT NOT NULL,
    password_hash TEXT,
    -- Changing it ends every token of the user.
    salt TEXT NOT NULL,
    email TEXT NOT NULL,
    given_name TEXT NOT NULL,
    family_name TEXT NOT NULL,
    external_id TEXT NOT NULL,
    active BOOLEAN NOT NULL,
    verified BOOLEAN NOT NULL,
    version INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    password_changed_at TIMESTAMP NOT NULL,
    last_logon_at TIMESTAMP,
    previous_logon_at TIMESTAMP
);
CREATE UNIQUE INDEX users_by_name ON users (origin, user_key);
CREATE INDEX users_by_email ON users (email);

CREATE TABLE groups (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);
CREATE UNIQUE INDEX groups_by_name ON groups (name);

CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_by_user ON group_members (user_id);

CREATE TABLE clients (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- JSON list of hashes, at most two; the empty text stands for the empty secret.
    secrets TEXT NOT NULL,
    -- Keyed digest of the configuration this client was made from.
    seed TEXT,
    scopes TEXT NOT NULL,
    authorities TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    auto_approve TEXT NOT NULL,
    access_validity INTEGER,
    refresh_validity INTEGER,
    -- Changing it ends every token of the client.
    salt TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL
);

CREATE TABLE refresh_tokens (
    -- Digest of the token; the token itself is kept nowhere.
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    signature TEXT NOT NULL,
    grant_type TEXT NOT NULL,
    authenticated_at TIMESTAMP NOT NULL,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL
);
CREATE INDEX refresh_tokens_by_owner ON refresh_tokens (user_id, client_id, created_at);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

CREATE TABLE authorization_codes (
    -- Digest of the code.
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    scopes TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge TEXT,
    challenge_method TEXT,
    authenticated_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL
);

CREATE TABLE revoked_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    expires_at TIMESTAMP NOT NULL
);

CREATE TABLE login_failures (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    failures INTEGER NOT NULL,
    first_at TIMESTAMP NOT NULL,
    last_at TIMESTAMP NOT NULL
);

CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    -- PKCS#8, encrypted under the configured key.
    sealed TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL,
    -- The key with the latest such time that has come signs.
    activates_at TIMESTAMP NOT NULL
);
