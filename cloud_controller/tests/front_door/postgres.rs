//! The same tests with their rows on PostgreSQL: one private server a group, a database a test.

use std::rc::Rc;

use cupola_db::testkit::PostgresServer;

use crate::harness::on;

#[test]
fn dispatching() {
    let server = Rc::new(PostgresServer::start());
    on(
        &server,
        crate::dispatching::no_instance_is_started_twice_however_fast_orders_come,
    );
    on(
        &server,
        crate::dispatching::stop_start_and_scale_reach_the_dea_at_once,
    );
    on(
        &server,
        crate::dispatching::the_next_dea_is_asked_when_one_refuses_or_is_silent,
    );
    on(
        &server,
        crate::dispatching::an_order_waits_for_a_dea_that_comes_later,
    );
    on(
        &server,
        crate::dispatching::an_order_that_was_not_carried_out_survives_the_controller,
    );
    on(
        &server,
        crate::dispatching::what_was_done_of_an_order_is_not_done_again,
    );
    on(&server, crate::dispatching::routes_reach_running_instances);
    on(
        &server,
        crate::dispatching::one_instance_is_restarted_and_the_others_are_left_alone,
    );
    on(
        &server,
        crate::dispatching::proposals_are_checked_against_the_row,
    );
    on(
        &server,
        crate::dispatching::instances_of_apps_that_do_not_exist_are_stopped,
    );
    on(&server, crate::dispatching::a_crash_is_in_the_events);
    on(
        &server,
        crate::dispatching::missing_instances_are_down_and_the_api_is_known_to_the_routers,
    );
    on(
        &server,
        crate::dispatching::the_bulk_api_tells_what_shall_run_to_whoever_may_know,
    );
}

#[test]
fn listing() {
    let server = Rc::new(PostgresServer::start());
    on(
        &server,
        crate::listing::pages_follow_each_other_with_their_filters,
    );
    on(&server, crate::listing::filters_compare_as_they_should);
    on(
        &server,
        crate::listing::related_resources_are_expanded_when_asked_for,
    );
    on(
        &server,
        crate::listing::unknown_paths_and_methods_are_not_found_in_json,
    );
}

#[test]
fn orgs() {
    let server = Rc::new(PostgresServer::start());
    on(
        &server,
        crate::orgs::the_first_start_makes_what_a_person_needs_and_a_second_changes_nothing,
    );
    on(
        &server,
        crate::orgs::organizations_are_made_renamed_and_removed,
    );
    on(
        &server,
        crate::orgs::quotas_limit_memory_instances_and_routes,
    );
    on(
        &server,
        crate::orgs::roles_are_given_and_taken_by_name_and_by_guid,
    );
    on(
        &server,
        crate::orgs::users_are_made_and_removed_by_admins_alone,
    );
}

#[test]
fn push() {
    let server = Rc::new(PostgresServer::start());
    on(&server, crate::push::a_push_ends_in_a_running_instance);
    on(&server, crate::push::a_failed_build_says_why);
    on(
        &server,
        crate::push::a_droplet_that_did_not_arrive_is_no_droplet,
    );
    on(
        &server,
        crate::push::nothing_starts_without_bits_and_nothing_is_shown_before_it_is_staged,
    );
    on(
        &server,
        crate::push::a_build_goes_on_while_the_controller_restarts,
    );
    on(
        &server,
        crate::push::a_late_answer_of_an_earlier_build_is_dropped,
    );
}

#[test]
fn rights() {
    let server = Rc::new(PostgresServer::start());
    on(&server, crate::rights::a_token_is_needed_and_must_be_good);
    on(
        &server,
        crate::rights::strangers_see_nothing_and_change_nothing,
    );
    on(&server, crate::rights::roles_allow_what_the_table_says);
    on(
        &server,
        crate::rights::the_inside_of_the_platform_is_closed_to_users,
    );
}

#[test]
fn routing() {
    let server = Rc::new(PostgresServer::start());
    on(&server, crate::routing::a_host_belongs_to_one_space);
    on(
        &server,
        crate::routing::routes_are_mapped_in_either_direction_and_unmapped,
    );
    on(
        &server,
        crate::routing::private_domains_belong_to_their_organization,
    );
}

#[test]
fn settings() {
    let server = Rc::new(PostgresServer::start());
    on(
        &server,
        crate::settings::an_app_has_the_attributes_it_was_given,
    );
    on(
        &server,
        crate::settings::new_bits_another_buildpack_and_restage_need_a_build,
    );
    on(
        &server,
        crate::settings::flags_switch_things_off_for_everybody_but_admins,
    );
    on(
        &server,
        crate::settings::environment_groups_are_below_the_apps_own,
    );
    on(
        &server,
        crate::settings::buildpacks_are_moved_and_switched_off,
    );
}

#[test]
fn uploads() {
    let server = Rc::new(PostgresServer::start());
    on(
        &server,
        crate::uploads::what_was_sent_once_is_not_sent_again,
    );
    on(
        &server,
        crate::uploads::dangerous_archives_are_refused_and_nothing_is_lost,
    );
    on(&server, crate::uploads::uploads_have_a_limit);
    on(
        &server,
        crate::uploads::malformed_uploads_are_refused_at_once,
    );
    on(&server, crate::uploads::bits_are_copied_between_apps);
}

#[test]
fn v3() {
    let server = Rc::new(PostgresServer::start());
    on(&server, crate::v3::late_v6_finds_what_it_shows_after_a_push);
    on(
        &server,
        crate::v3::errors_have_the_shape_of_v3_and_tell_no_secrets,
    );
}
