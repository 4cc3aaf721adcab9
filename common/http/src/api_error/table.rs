//! The table: every error of the v2 API by name.
//!
//! Names, numbers and statuses are the interface; the sentences say what to do next where they can.

use super::ErrorCode;

macro_rules! errors {
    ($($constant:ident = $code:literal $name:literal $status:literal $template:literal;)+) => {
        $(
            #[doc = concat!("`CF-", $name, "`, code ", $code, ", status ", $status, ".")]
            pub static $constant: ErrorCode = ErrorCode {
                name: $name,
                code: $code,
                status: $status,
                template: $template,
            };
        )+

        /// Every row, in the order of the table.
        pub static ALL: &[&ErrorCode] = &[$(&$constant),+];
    };
}

errors! {
    INVALID_AUTH_TOKEN = 1000 "InvalidAuthToken" 401 "Invalid Auth Token";
    MESSAGE_PARSE_ERROR = 1001 "MessageParseError" 400 "Request invalid due to parse error: %s";
    INVALID_RELATION = 1002 "InvalidRelation" 400 "%s";
    NOT_FOUND = 10000 "NotFound" 404 "Unknown request";
    SERVER_ERROR = 10001 "ServerError" 500 "Server error";
    NOT_AUTHENTICATED = 10002 "NotAuthenticated" 401 "Authentication error";
    NOT_AUTHORIZED = 10003 "NotAuthorized" 403
        "You are not authorized to perform the requested action";
    INVALID_REQUEST = 10004 "InvalidRequest" 400 "The request is invalid";
    BAD_QUERY_PARAMETER = 10005 "BadQueryParameter" 400 "The query parameter is invalid: %s";
    ASSOCIATION_NOT_EMPTY = 10006 "AssociationNotEmpty" 400
        "Please delete the %s associations for your %s.";
    INSUFFICIENT_SCOPE = 10007 "InsufficientScope" 403
        "Your token lacks the necessary scopes to access this resource.";
    UNPROCESSABLE_ENTITY = 10008 "UnprocessableEntity" 422 "%s";
    UNABLE_TO_PERFORM = 10009 "UnableToPerform" 400 "%s could not be completed: %s";
    RESOURCE_NOT_FOUND = 10010 "ResourceNotFound" 404 "%s";
    DATABASE_ERROR = 10011 "DatabaseError" 500 "Database error";
    ORDER_BY_PARAMETER_INVALID = 10012 "OrderByParameterInvalid" 500 "Cannot order by: %s";
    RATE_LIMIT_EXCEEDED = 10013 "RateLimitExceeded" 429 "Rate Limit Exceeded";
    USER_INVALID = 20001 "UserInvalid" 400 "The user info is invalid: %s";
    UAA_ID_TAKEN = 20002 "UaaIdTaken" 400 "The UAA ID is taken: %s";
    USER_NOT_FOUND = 20003 "UserNotFound" 404 "The user could not be found: %s";
    UAA_UNAVAILABLE = 20004 "UaaUnavailable" 503 "The UAA service is currently unavailable";
    UAA_ENDPOINT_DISABLED = 20005 "UaaEndpointDisabled" 501 "The UAA endpoint needed is disabled";
    USER_IS_IN_MULTIPLE_ORIGINS = 20006 "UserIsInMultipleOrigins" 400
        "The user exists in multiple origins. Specify an origin for the requested user from: %s";
    USER_WITH_ORIGIN_NOT_FOUND = 20007 "UserWithOriginNotFound" 404
        "The user could not be found, %s";
    ORGANIZATION_INVALID = 30001 "OrganizationInvalid" 400 "The organization info is invalid: %s";
    ORGANIZATION_NAME_TAKEN = 30002 "OrganizationNameTaken" 400
        "The organization name is taken: %s";
    ORGANIZATION_NOT_FOUND = 30003 "OrganizationNotFound" 404
        "The organization could not be found: %s";
    LAST_MANAGER_IN_ORG = 30004 "LastManagerInOrg" 403 "Cannot remove last Org Manager in org";
    LAST_BILLING_MANAGER_IN_ORG = 30005 "LastBillingManagerInOrg" 403
        "Cannot remove last Billing Manager in org";
    LAST_USER_IN_ORG = 30006 "LastUserInOrg" 403 "Cannot remove last User in org";
    ORGANIZATION_ALREADY_SET = 30007 "OrganizationAlreadySet" 400 "The organization is already set";
    SPACE_INVALID = 40001 "SpaceInvalid" 400 "The app space info is invalid: %s";
    SPACE_NAME_TAKEN = 40002 "SpaceNameTaken" 400 "The app space name is taken: %s";
    SPACE_USER_NOT_IN_ORG = 40003 "SpaceUserNotInOrg" 400
        "The app space and the user are not in the same org: %s";
    SPACE_NOT_FOUND = 40004 "SpaceNotFound" 404 "The app space could not be found: %s";
    SERVICE_INSTANCE_NAME_EMPTY = 60001 "ServiceInstanceNameEmpty" 400
        "Service instance name is required.";
    SERVICE_INSTANCE_NAME_TAKEN = 60002 "ServiceInstanceNameTaken" 400
        "The service instance name is taken: %s";
    SERVICE_INSTANCE_INVALID = 60003 "ServiceInstanceInvalid" 400
        "The service instance is invalid: %s";
    SERVICE_INSTANCE_NOT_FOUND = 60004 "ServiceInstanceNotFound" 404
        "The service instance could not be found: %s";
    SERVICE_INSTANCE_QUOTA_EXCEEDED = 60005 "ServiceInstanceQuotaExceeded" 400
        "You have exceeded your organization's services limit.";
    SERVICE_INSTANCE_SERVICE_PLAN_NOT_ALLOWED = 60007 "ServiceInstanceServicePlanNotAllowed" 400
        "The service instance cannot be created because paid service plans are not allowed.";
    SERVICE_INSTANCE_NAME_TOO_LONG = 60009 "ServiceInstanceNameTooLong" 400
        "You have requested an invalid service instance name. Names are limited to 50 characters.";
    SERVICE_INSTANCE_ORGANIZATION_NOT_AUTHORIZED = 60010 "ServiceInstanceOrganizationNotAuthorized" 403
        "A service instance for the selected plan cannot be created in this organization. The plan is visible because another organization you belong to has access to it.";
    SERVICE_INSTANCE_DEPROVISION_FAILED = 60011 "ServiceInstanceDeprovisionFailed" 409
        "The service broker reported an error during deprovisioning: %s";
    SERVICE_INSTANCE_SPACE_QUOTA_EXCEEDED = 60012 "ServiceInstanceSpaceQuotaExceeded" 400
        "You have exceeded your space's services limit.";
    SERVICE_INSTANCE_SERVICE_PLAN_NOT_ALLOWED_BY_SPACE_QUOTA = 60013 "ServiceInstanceServicePlanNotAllowedBySpaceQuota" 400
        "The service instance cannot be created because paid service plans are not allowed for your space.";
    SERVICE_INSTANCE_SPACE_CHANGE_NOT_ALLOWED = 60014 "ServiceInstanceSpaceChangeNotAllowed" 400
        "Cannot update space for service instance.";
    SERVICE_INSTANCE_TAGS_TOO_LONG = 60015 "ServiceInstanceTagsTooLong" 400
        "Combined length of tags for service %s must be 2048 characters or less.";
    ASYNC_SERVICE_INSTANCE_OPERATION_IN_PROGRESS = 60016 "AsyncServiceInstanceOperationInProgress" 409
        "An operation for service instance %s is in progress.";
    SERVICE_INSTANCE_ROUTE_BINDING_SPACE_MISMATCH = 60017 "ServiceInstanceRouteBindingSpaceMismatch" 400
        "The service instance and the route are in different spaces.";
    SERVICE_INSTANCE_ROUTE_SERVICE_URL_INVALID = 60019 "ServiceInstanceRouteServiceURLInvalid" 400
        "The route service URL is invalid: it must be https.";
    SERVICE_INSTANCE_ROUTE_SERVICE_REQUIRES_DIEGO = 60020 "ServiceInstanceRouteServiceRequiresDiego" 400
        "Route services are only supported for apps on Diego. Unbind the service instance from the route or enable Diego for the app.";
    APP_PORT_MAPPING_REQUIRES_DIEGO = 60022 "AppPortMappingRequiresDiego" 400
        "Ports are supported for Diego apps only. Enable Diego for the app or remove custom app ports.";
    ROUTE_PORT_NOT_ENABLED_ON_APP = 60023 "RoutePortNotEnabledOnApp" 400
        "Routes can only be mapped to ports already enabled for the application.";
    DOCKER_APP_TO_DEA = 60026 "DockerAppToDea" 400 "Docker apps cannot run on DEAs";
    SERVICE_BINDING_INVALID = 90001 "ServiceBindingInvalid" 400
        "The service binding is invalid: %s";
    SERVICE_BINDING_DIFFERENT_SPACES = 90002 "ServiceBindingDifferentSpaces" 400
        "The app and the service are not in the same app space: %s";
    SERVICE_BINDING_APP_SERVICE_TAKEN = 90003 "ServiceBindingAppServiceTaken" 400
        "The app is already bound to the service: %s";
    SERVICE_BINDING_NOT_FOUND = 90004 "ServiceBindingNotFound" 404
        "The service binding could not be found: %s";
    UNBINDABLE_SERVICE = 90005 "UnbindableService" 400
        "The service instance does not support binding.";
    INVALID_LOGGING_SERVICE_BINDING = 90006 "InvalidLoggingServiceBinding" 502
        "The service is attempting to stream logs from your application, but is not registered as a logging service.";
    ASYNC_SERVICE_BINDING_OPERATION_IN_PROGRESS = 90008 "AsyncServiceBindingOperationInProgress" 409
        "An operation for the service binding between app %s and service instance %s is in progress.";
    APP_INVALID = 100001 "AppInvalid" 400 "The app is invalid: %s";
    APP_NAME_TAKEN = 100002 "AppNameTaken" 400 "The app name is taken: %s";
    APP_NOT_FOUND = 100004 "AppNotFound" 404 "The app could not be found: %s";
    APP_MEMORY_QUOTA_EXCEEDED = 100005 "AppMemoryQuotaExceeded" 400
        "You have exceeded your organization's memory limit: %s";
    APP_MEMORY_INVALID = 100006 "AppMemoryInvalid" 400
        "You have specified an invalid amount of memory for your application.";
    QUOTA_INSTANCE_MEMORY_LIMIT_EXCEEDED = 100007 "QuotaInstanceMemoryLimitExceeded" 400
        "You have exceeded the instance memory limit for your organization's quota.";
    QUOTA_INSTANCE_LIMIT_EXCEEDED = 100008 "QuotaInstanceLimitExceeded" 400
        "You have exceeded the instance limit for your organization's quota.";
    SERVICE_PLAN_INVALID = 110001 "ServicePlanInvalid" 400 "The service plan is invalid: %s";
    SERVICE_PLAN_NOT_FOUND = 110003 "ServicePlanNotFound" 404
        "The service plan could not be found: %s";
    SERVICE_PLAN_NOT_UPDATEABLE = 110004 "ServicePlanNotUpdateable" 400
        "The service does not support changing plans.";
    SERVICE_NOT_FOUND = 120003 "ServiceNotFound" 404 "The service could not be found: %s";
    DOMAIN_INVALID = 130001 "DomainInvalid" 400 "The domain is invalid: %s";
    DOMAIN_NOT_FOUND = 130002 "DomainNotFound" 404 "The domain could not be found: %s";
    DOMAIN_NAME_TAKEN = 130003 "DomainNameTaken" 400 "The domain name is taken: %s";
    PATH_INVALID = 130004 "PathInvalid" 400 "The path is invalid: %s";
    TOTAL_PRIVATE_DOMAINS_EXCEEDED = 130005 "TotalPrivateDomainsExceeded" 400
        "The number of private domains exceeds the quota for organization: %s";
    SERVICE_DOES_NOT_SUPPORT_ROUTES = 130006 "ServiceDoesNotSupportRoutes" 400
        "This service does not support route binding.";
    ROUTE_ALREADY_BOUND_TO_SERVICE_INSTANCE = 130007 "RouteAlreadyBoundToServiceInstance" 400
        "A route may only be bound to a single service instance";
    SERVICE_INSTANCE_ALREADY_BOUND_TO_SAME_ROUTE = 130008 "ServiceInstanceAlreadyBoundToSameRoute" 400
        "The route and service instance are already bound.";
    APP_PACKAGE_INVALID = 150001 "AppPackageInvalid" 400 "The app package is invalid: %s";
    APP_PACKAGE_NOT_FOUND = 150002 "AppPackageNotFound" 404
        "The app package could not be found: %s";
    INSUFFICIENT_RUNNING_RESOURCES_AVAILABLE = 150003 "InsufficientRunningResourcesAvailable" 503
        "One or more instances could not be started because of insufficient running resources.";
    APP_BITS_UPLOAD_INVALID = 160001 "AppBitsUploadInvalid" 400 "The app upload is invalid: %s";
    APP_BITS_COPY_INVALID = 160002 "AppBitsCopyInvalid" 400 "The app copy is invalid: %s";
    APP_RESOURCES_FILE_MODE_INVALID = 160003 "AppResourcesFileModeInvalid" 400
        "The resource file mode is invalid: %s";
    APP_RESOURCES_FILE_PATH_INVALID = 160004 "AppResourcesFilePathInvalid" 400
        "The resource file path is invalid: %s";
    STAGING_ERROR = 170001 "StagingError" 400 "Staging error: %s";
    NOT_STAGED = 170002 "NotStaged" 400 "App has not finished staging";
    NO_APP_DETECTED_ERROR = 170003 "NoAppDetectedError" 400
        "An app was not successfully detected by any available buildpack";
    BUILDPACK_COMPILE_FAILED = 170004 "BuildpackCompileFailed" 400
        "App staging failed in the buildpack compile phase";
    BUILDPACK_RELEASE_FAILED = 170005 "BuildpackReleaseFailed" 400
        "App staging failed in the buildpack release phase";
    NO_BUILDPACKS_FOUND = 170006 "NoBuildpacksFound" 400 "There are no buildpacks available";
    STAGING_TIME_EXPIRED = 170007 "StagingTimeExpired" 504 "Staging time expired: %s";
    INSUFFICIENT_RESOURCES = 170008 "InsufficientResources" 400 "Insufficient resources";
    NO_COMPATIBLE_CELL = 170009 "NoCompatibleCell" 400 "Found no compatible cell";
    STAGER_UNAVAILABLE = 170010 "StagerUnavailable" 503 "Stager is unavailable: %s";
    STAGER_ERROR = 170011 "StagerError" 500 "Stager error: %s";
    RUNNER_INVALID_REQUEST = 170014 "RunnerInvalidRequest" 500 "Runner invalid request: %s";
    RUNNER_UNAVAILABLE = 170015 "RunnerUnavailable" 503 "Runner is unavailable: %s";
    RUNNER_ERROR = 170016 "RunnerError" 500 "Runner error: %s";
    SERVICE_GATEWAY_ERROR = 180002 "ServiceGatewayError" 503 "Service gateway internal error: %s";
    FILE_ERROR = 190001 "FileError" 400 "File error: %s";
    STATS_ERROR = 200001 "StatsError" 400 "Stats error: %s";
    STATS_UNAVAILABLE = 200002 "StatsUnavailable" 503 "Stats unavailable: %s";
    APP_STOPPED_STATS_ERROR = 200003 "AppStoppedStatsError" 400
        "Could not fetch stats for stopped app: %s";
    ROUTE_INVALID = 210001 "RouteInvalid" 400 "The route is invalid: %s";
    ROUTE_NOT_FOUND = 210002 "RouteNotFound" 404 "The route could not be found: %s";
    ROUTE_HOST_TAKEN = 210003 "RouteHostTaken" 400 "The host is taken: %s";
    ROUTE_PATH_TAKEN = 210004 "RoutePathTaken" 400 "The path is taken: %s";
    ROUTE_PORT_TAKEN = 210005 "RoutePortTaken" 400 "The port is taken: %s";
    ROUTE_MAPPING_TAKEN = 210006 "RouteMappingTaken" 400 "The route mapping is taken: %s";
    ROUTE_MAPPING_NOT_FOUND = 210007 "RouteMappingNotFound" 404
        "The route mapping could not be found: %s";
    OUT_OF_ROUTER_GROUP_PORTS = 21008 "OutOfRouterGroupPorts" 403
        "There are no more ports available for router group: %s. Please contact your administrator for more information.";
    INSTANCES_ERROR = 220001 "InstancesError" 400 "Instances error: %s";
    INSTANCES_UNAVAILABLE = 220002 "InstancesUnavailable" 503
        "Instances information unavailable: %s";
    EVENT_NOT_FOUND = 230002 "EventNotFound" 404 "The event could not be found: %s";
    QUOTA_DEFINITION_NOT_FOUND = 240001 "QuotaDefinitionNotFound" 404
        "Quota Definition could not be found: %s";
    QUOTA_DEFINITION_NAME_TAKEN = 240002 "QuotaDefinitionNameTaken" 400
        "Quota Definition is taken: %s";
    QUOTA_DEFINITION_INVALID = 240003 "QuotaDefinitionInvalid" 400
        "Quota Definition is invalid: %s";
    STACK_INVALID = 250001 "StackInvalid" 400 "The stack is invalid: %s";
    STACK_NAME_TAKEN = 250002 "StackNameTaken" 400 "The stack name is taken: %s";
    STACK_NOT_FOUND = 250003 "StackNotFound" 404 "The stack could not be found: %s";
    SERVICE_PLAN_VISIBILITY_INVALID = 260001 "ServicePlanVisibilityInvalid" 400
        "Service Plan Visibility is invalid: %s";
    SERVICE_PLAN_VISIBILITY_ALREADY_EXISTS = 260002 "ServicePlanVisibilityAlreadyExists" 400
        "This combination of ServicePlan and Organization is already taken: %s";
    SERVICE_PLAN_VISIBILITY_NOT_FOUND = 260003 "ServicePlanVisibilityNotFound" 404
        "The service plan visibility could not be found: %s";
    SERVICE_BROKER_INVALID = 270001 "ServiceBrokerInvalid" 400 "Service broker is invalid: %s";
    SERVICE_BROKER_NAME_TAKEN = 270002 "ServiceBrokerNameTaken" 400
        "The service broker name is taken";
    SERVICE_BROKER_URL_TAKEN = 270003 "ServiceBrokerUrlTaken" 400
        "The service broker url is taken: %s";
    SERVICE_BROKER_NOT_FOUND = 270004 "ServiceBrokerNotFound" 404
        "The service broker was not found";
    SERVICE_BROKER_NOT_REMOVABLE = 270010 "ServiceBrokerNotRemovable" 400
        "Can not remove brokers that have associated service instances: %s";
    SERVICE_BROKER_URL_INVALID = 270011 "ServiceBrokerUrlInvalid" 400 "%s is not a valid URL";
    SERVICE_BROKER_CATALOG_INVALID = 270012 "ServiceBrokerCatalogInvalid" 502
        "Service broker catalog is invalid: %s";
    SERVICE_BROKER_DASHBOARD_CLIENT_FAILURE = 270013 "ServiceBrokerDashboardClientFailure" 502
        "Service broker dashboard clients could not be modified: %s";
    SERVICE_BROKER_ASYNC_REQUIRED = 270014 "ServiceBrokerAsyncRequired" 400
        "This service plan requires client support for asynchronous service operations.";
    SERVICE_BROKER_RESPONDED_ASYNC_WHEN_NOT_ALLOWED = 270017 "ServiceBrokerRespondedAsyncWhenNotAllowed" 502
        "The service broker responded asynchronously to a request, but the accepts_incomplete query parameter was false or not given.";
    SERVICE_BROKER_BAD_RESPONSE = 10001 "ServiceBrokerBadResponse" 502 "Service broker error: %s";
    SERVICE_BROKER_REQUEST_REJECTED = 10001 "ServiceBrokerRequestRejected" 502
        "Service broker error: %s";
    SERVICE_BROKER_API_AUTHENTICATION_FAILED = 10001 "ServiceBrokerApiAuthenticationFailed" 502
        "Authentication with the service broker failed. Double-check that the username and password are correct: %s";
    SERVICE_BROKER_API_TIMEOUT = 10001 "ServiceBrokerApiTimeout" 504
        "The request to the service broker timed out: %s";
    SERVICE_BROKER_API_UNREACHABLE = 10001 "ServiceBrokerApiUnreachable" 502
        "The service broker could not be reached: %s";
    SERVICE_BROKER_CONFLICT = 10001 "ServiceBrokerConflict" 409 "Service broker error: %s";
    BUILDPACK_NAME_STACK_TAKEN = 290000 "BuildpackNameStackTaken" 422
        "The buildpack name %s is already in use for the stack %s";
    BUILDPACK_NAME_TAKEN = 290001 "BuildpackNameTaken" 400
        "The buildpack name is already in use: %s";
    BUILDPACK_BITS_UPLOAD_INVALID = 290002 "BuildpackBitsUploadInvalid" 400
        "The buildpack upload is invalid: %s";
    BUILDPACK_INVALID = 290003 "BuildpackInvalid" 400 "Buildpack is invalid: %s";
    CUSTOM_BUILDPACKS_DISABLED = 290004 "CustomBuildpacksDisabled" 400
        "Custom buildpacks are disabled";
    BUILDPACK_LOCKED = 290005 "BuildpackLocked" 409 "The buildpack is locked";
    JOB_TIMEOUT = 290006 "JobTimeout" 524 "The job execution has timed out.";
    SPACE_DELETION_FAILED = 290008 "SpaceDeletionFailed" 502
        "Deletion of space %s failed because one or more resources within could not be deleted.";
    ORGANIZATION_DELETION_FAILED = 290010 "OrganizationDeletionFailed" 502
        "Deletion of organization %s failed because one or more resources within could not be deleted.";
    NONRECURSIVE_SPACE_DELETION_FAILED = 290011 "NonrecursiveSpaceDeletionFailed" 400
        "Resource inside space %s must first be deleted, or specify recursive delete.";
    SECURITY_GROUP_INVALID = 300001 "SecurityGroupInvalid" 400 "The security group is invalid: %s";
    SECURITY_GROUP_NOT_FOUND = 300002 "SecurityGroupNotFound" 404
        "The security group could not be found: %s";
    SECURITY_GROUP_STAGING_DEFAULT_INVALID = 300003 "SecurityGroupStagingDefaultInvalid" 400
        "The security group could not be found: %s";
    SECURITY_GROUP_RUNNING_DEFAULT_INVALID = 300004 "SecurityGroupRunningDefaultInvalid" 400
        "The security group could not be found: %s";
    SECURITY_GROUP_NAME_TAKEN = 300005 "SecurityGroupNameTaken" 400
        "The security group name is taken: %s";
    SPACE_QUOTA_DEFINITION_INVALID = 310001 "SpaceQuotaDefinitionInvalid" 400
        "Space Quota Definition is invalid: %s";
    SPACE_QUOTA_DEFINITION_NAME_TAKEN = 310002 "SpaceQuotaDefinitionNameTaken" 400
        "The space quota definition name is taken: %s";
    SPACE_QUOTA_MEMORY_LIMIT_EXCEEDED = 310003 "SpaceQuotaMemoryLimitExceeded" 400
        "You have exceeded your space's memory limit: %s";
    SPACE_QUOTA_INSTANCE_MEMORY_LIMIT_EXCEEDED = 310004 "SpaceQuotaInstanceMemoryLimitExceeded" 400
        "You have exceeded the instance memory limit for your space's quota.";
    SPACE_QUOTA_TOTAL_ROUTES_EXCEEDED = 310005 "SpaceQuotaTotalRoutesExceeded" 400
        "You have exceeded the total routes for your space's quota.";
    ORG_QUOTA_TOTAL_ROUTES_EXCEEDED = 310006 "OrgQuotaTotalRoutesExceeded" 400
        "You have exceeded the total routes for your organization's quota.";
    SPACE_QUOTA_DEFINITION_NOT_FOUND = 310007 "SpaceQuotaDefinitionNotFound" 404
        "Space Quota Definition could not be found: %s";
    SPACE_QUOTA_INSTANCE_LIMIT_EXCEEDED = 310008 "SpaceQuotaInstanceLimitExceeded" 400
        "You have exceeded the instance limit for your space's quota.";
    ORG_QUOTA_TOTAL_RESERVED_ROUTE_PORTS_EXCEEDED = 310009 "OrgQuotaTotalReservedRoutePortsExceeded" 400
        "You have exceeded the total reserved route ports for your organization's quota.";
    SPACE_QUOTA_TOTAL_RESERVED_ROUTE_PORTS_EXCEEDED = 310010 "SpaceQuotaTotalReservedRoutePortsExceeded" 400
        "You have exceeded the total reserved route ports for your space's quota.";
    DIEGO_DISABLED = 320001 "DiegoDisabled" 400 "Diego has not been enabled.";
    DIEGO_DOCKER_BUILDPACK_CONFLICT = 320002 "DiegoDockerBuildpackConflict" 400
        "You cannot specify a custom buildpack and a docker image at the same time.";
    DOCKER_DISABLED = 320003 "DockerDisabled" 400 "Docker support has not been enabled.";
    FEATURE_FLAG_NOT_FOUND = 330000 "FeatureFlagNotFound" 404
        "The feature flag could not be found: %s";
    FEATURE_FLAG_INVALID = 330001 "FeatureFlagInvalid" 400 "The feature flag is invalid: %s";
    FEATURE_DISABLED = 330002 "FeatureDisabled" 403 "Feature Disabled: %s";
    USER_PROVIDED_SERVICE_INSTANCE_NOT_FOUND = 340001 "UserProvidedServiceInstanceNotFound" 404
        "The service instance could not be found: %s";
    USER_PROVIDED_SERVICE_INSTANCE_HANDLER_NEEDED = 340002 "UserProvidedServiceInstanceHandlerNeeded" 400
        "Please use the User Provided Services API to manage this resource.";
    SERVICE_KEY_NAME_TAKEN = 360001 "ServiceKeyNameTaken" 400 "The service key name is taken: %s";
    SERVICE_KEY_INVALID = 360002 "ServiceKeyInvalid" 400 "The service key is invalid: %s";
    SERVICE_KEY_NOT_FOUND = 360003 "ServiceKeyNotFound" 404
        "The service key could not be found: %s";
    SERVICE_KEY_NOT_SUPPORTED = 360004 "ServiceKeyNotSupported" 400
        "Service keys are not supported for this service: %s";
    ROUTING_API_UNAVAILABLE = 370001 "RoutingApiUnavailable" 503
        "The routing API is currently unavailable";
    ROUTING_API_DISABLED = 370003 "RoutingApiDisabled" 403 "Support for TCP routing is disabled";
    ENVIRONMENT_VARIABLE_GROUP_INVALID = 380001 "EnvironmentVariableGroupInvalid" 400
        "The Environment Variable Group is invalid: %s";
    DROPLET_UPLOAD_INVALID = 380002 "DropletUploadInvalid" 400 "The droplet upload is invalid: %s";
    SERVICE_INSTANCE_UNSHARE_FAILED = 390001 "ServiceInstanceUnshareFailed" 502
        "Unshare of service instance failed because one or more bindings could not be deleted: %s";
    SERVICE_INSTANCE_DELETION_SHARES_EXISTS = 390002 "ServiceInstanceDeletionSharesExists" 422
        "Service instances must be unshared before they can be deleted. Unsharing %s will automatically delete any bindings that have been made to applications in other spaces.";
    SHARED_SERVICE_INSTANCE_CANNOT_BE_RENAMED = 390003 "SharedServiceInstanceCannotBeRenamed" 422
        "Service instances that have been shared cannot be renamed";
    SHARED_SERVICE_INSTANCE_NOT_UPDATABLE_IN_TARGET_SPACE = 390004 "SharedServiceInstanceNotUpdatableInTargetSpace" 403
        "You cannot update service instances that have been shared with you";
    SHARED_SERVICE_INSTANCE_NOT_DELETABLE_IN_TARGET_SPACE = 390005 "SharedServiceInstanceNotDeletableInTargetSpace" 403
        "You cannot delete service instances that have been shared with you";
}
