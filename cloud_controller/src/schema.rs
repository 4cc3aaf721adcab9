//! The tables, as the queries see them.
//!
//! Made to match `migrations/`; a test compares the two.

#![allow(missing_docs, unreachable_pub, reason = "the macro's own code")]

diesel::table! {
    quota_definitions (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        name_key -> Text,
        non_basic_services_allowed -> Bool,
        total_services -> Integer,
        total_routes -> Integer,
        memory_limit -> Integer,
        instance_memory_limit -> Integer,
        app_instance_limit -> Integer,
        app_task_limit -> Integer,
        total_service_keys -> Integer,
        total_private_domains -> Integer,
        total_reserved_route_ports -> Integer,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    organizations (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        name_key -> Text,
        status -> Text,
        billing_enabled -> Bool,
        quota_guid -> Text,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    spaces (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        name_key -> Text,
        org_guid -> Text,
        allow_ssh -> Bool,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    users (id) {
        id -> BigInt,
        guid -> Text,
        username -> Nullable<Text>,
        username_key -> Nullable<Text>,
        admin -> Bool,
        active -> Bool,
        default_space_guid -> Nullable<Text>,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    org_roles (org_guid, user_guid, role) {
        org_guid -> Text,
        user_guid -> Text,
        role -> Text,
    }
}

diesel::table! {
    space_roles (space_guid, user_guid, role) {
        space_guid -> Text,
        user_guid -> Text,
        role -> Text,
    }
}

diesel::table! {
    stacks (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        description -> Text,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    domains (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        owner_org_guid -> Nullable<Text>,
        internal -> Bool,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    domain_shares (domain_guid, org_guid) {
        domain_guid -> Text,
        org_guid -> Text,
    }
}

diesel::table! {
    routes (id) {
        id -> BigInt,
        guid -> Text,
        host -> Text,
        domain_guid -> Text,
        path -> Text,
        space_guid -> Text,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    apps (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        name_key -> Text,
        space_guid -> Text,
        stack_guid -> Text,
        memory -> Integer,
        instances -> Integer,
        disk_quota -> Integer,
        state -> Text,
        package_state -> Text,
        command -> Nullable<Text>,
        buildpack -> Nullable<Text>,
        health_check_type -> Text,
        health_check_timeout -> Nullable<Integer>,
        health_check_http_endpoint -> Nullable<Text>,
        diego -> Bool,
        enable_ssh -> Bool,
        environment -> Nullable<Text>,
        version -> Text,
        staging_task_id -> Nullable<Text>,
        staging_failed_reason -> Nullable<Text>,
        staging_failed_description -> Nullable<Text>,
        detected_buildpack -> Nullable<Text>,
        detected_buildpack_guid -> Nullable<Text>,
        detected_start_command -> Nullable<Text>,
        package_key -> Nullable<Text>,
        package_sha1 -> Nullable<Text>,
        package_updated_at -> Nullable<Timestamp>,
        droplet_key -> Nullable<Text>,
        droplet_sha1 -> Nullable<Text>,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    route_mappings (id) {
        id -> BigInt,
        guid -> Text,
        app_guid -> Text,
        route_guid -> Text,
        app_port -> Nullable<Integer>,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    buildpacks (id) {
        id -> BigInt,
        guid -> Text,
        name -> Text,
        blob_key -> Nullable<Text>,
        position -> Integer,
        enabled -> Bool,
        locked -> Bool,
        filename -> Nullable<Text>,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    staging_tasks (id) {
        id -> BigInt,
        guid -> Text,
        app_guid -> Text,
        package_key -> Text,
        stager_id -> Nullable<Text>,
        accepted_at -> Nullable<Timestamp>,
        deadline_at -> Timestamp,
        droplet_sha1 -> Nullable<Text>,
        created_at -> Timestamp,
    }
}

diesel::table! {
    orders (id) {
        id -> BigInt,
        subject -> Text,
        body -> Text,
        owner -> Text,
        claimed_until -> Timestamp,
        created_at -> Timestamp,
        adopted -> Bool,
    }
}

diesel::table! {
    events (id) {
        id -> BigInt,
        guid -> Text,
        kind -> Text,
        actor -> Text,
        actor_type -> Text,
        actor_name -> Text,
        actee -> Text,
        actee_type -> Text,
        actee_name -> Text,
        metadata -> Text,
        space_guid -> Text,
        org_guid -> Text,
        created_at -> Timestamp,
    }
}

diesel::table! {
    jobs (id) {
        id -> BigInt,
        guid -> Text,
        status -> Text,
        error -> Nullable<Text>,
        owner -> Text,
        created_at -> Timestamp,
        updated_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    feature_flags (name) {
        name -> Text,
        enabled -> Bool,
        error_message -> Nullable<Text>,
    }
}

diesel::table! {
    env_groups (name) {
        name -> Text,
        body -> Text,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    quota_definitions,
    organizations,
    spaces,
    users,
    org_roles,
    space_roles,
    stacks,
    domains,
    domain_shares,
    routes,
    apps,
    route_mappings,
    buildpacks,
    staging_tasks,
    orders,
    events,
    jobs,
    feature_flags,
    env_groups
);
