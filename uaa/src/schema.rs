//! The tables, as diesel sees them.

diesel::table! {
    users (id) {
        id -> Text,
        origin -> Text,
        user_name -> Text,
        user_key -> Text,
        password_hash -> Nullable<Text>,
        salt -> Text,
        email -> Text,
        given_name -> Text,
        family_name -> Text,
        external_id -> Text,
        active -> Bool,
        verified -> Bool,
        version -> Integer,
        created_at -> Timestamp,
        updated_at -> Timestamp,
        password_changed_at -> Timestamp,
        last_logon_at -> Nullable<Timestamp>,
        previous_logon_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    groups (id) {
        id -> Text,
        name -> Text,
        description -> Text,
        version -> Integer,
        created_at -> Timestamp,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    group_members (group_id, user_id) {
        group_id -> Text,
        user_id -> Text,
    }
}

diesel::table! {
    clients (id) {
        id -> Text,
        name -> Text,
        secrets -> Text,
        seed -> Nullable<Text>,
        scopes -> Text,
        authorities -> Text,
        grant_types -> Text,
        redirect_uris -> Text,
        auto_approve -> Text,
        access_validity -> Nullable<Integer>,
        refresh_validity -> Nullable<Integer>,
        salt -> Text,
        created_at -> Timestamp,
        updated_at -> Timestamp,
    }
}

diesel::table! {
    refresh_tokens (id) {
        id -> Text,
        user_id -> Text,
        client_id -> Text,
        scopes -> Text,
        signature -> Text,
        grant_type -> Text,
        authenticated_at -> Timestamp,
        created_at -> Timestamp,
        expires_at -> Timestamp,
    }
}

diesel::table! {
    authorization_codes (id) {
        id -> Text,
        user_id -> Text,
        client_id -> Text,
        scopes -> Text,
        redirect_uri -> Text,
        challenge -> Nullable<Text>,
        challenge_method -> Nullable<Text>,
        authenticated_at -> Timestamp,
        expires_at -> Timestamp,
    }
}

diesel::table! {
    revoked_tokens (id) {
        id -> Text,
        expires_at -> Timestamp,
    }
}

diesel::table! {
    login_failures (user_id) {
        user_id -> Text,
        failures -> Integer,
        first_at -> Timestamp,
        last_at -> Timestamp,
    }
}

diesel::table! {
    signing_keys (id) {
        id -> Text,
        sealed -> Text,
        created_at -> Timestamp,
        activates_at -> Timestamp,
    }
}

diesel::joinable!(group_members -> groups (group_id));
diesel::joinable!(group_members -> users (user_id));
diesel::allow_tables_to_appear_in_same_query!(users, groups, group_members);
