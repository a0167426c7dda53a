//! The kinds of jobs, and how each is polled: one row for each action with `.sync` (developer guide, "Run a job", and
//! the page of each service). What cancels a job is what the developer guide's IAM policy for the action allows beside
//! the start and the description.

/// A kind of job.
#[derive(Debug)]
pub(super) struct Row {
    /// Their names in resources.
    pub(super) service: &'static str,
    pub(super) action: &'static str,
    /// The form of the start's parameters and answer.
    pub(super) form: Form,
    pub(super) start: &'static str,
    pub(super) describe: &'static str,
    pub(super) asks: &'static [Ask],
    /// The job's place in the answer of `describe`: a JSON pointer.
    pub(super) subject: &'static str,
    pub(super) shown: Shown,
    /// The status's place: a pointer from the subject.
    pub(super) status: &'static str,
    pub(super) succeeded: &'static [&'static str],
    pub(super) failed: &'static [&'static str],
    /// Whether a job that the service no longer knows has succeeded.
    pub(super) ends_gone: bool,
    pub(super) cancel: Option<(&'static str, &'static [Ask])>,
}

/// A member of a request, and the source of its value.
pub(super) type Ask = (&'static str, Origin);

#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A member of the parameters.
    Given(&'static str),
    /// A pointer into the start's answer.
    Answer(&'static str),
    /// The same, in an array of one.
    Listed(&'static str),
    /// The reason of the cancellation.
    Reason,
}

/// The part of `describe`'s answer that is the task's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// All of it.
    Answer,
    /// The job itself.
    Subject,
    /// The job in a member of this name.
    Named(&'static str),
}

/// How an integration's parameters and answers differ from its operation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Same,
    /// The answer lists tasks that could not be placed.
    EcsTask,
    EmrCluster,
    EmrStep,
    EmrTermination,
    /// The service answers nothing; the integration, the application's identifier.
    Application,
    /// An execution of a state machine: its times are in milliseconds, its input and output may be JSON.
    Execution,
}

use self::Origin::{Answer, Given, Listed, Reason};

const ROW: Row = Row {
    service: "",
    action: "",
    form: Form::Same,
    start: "",
    describe: "",
    asks: &[],
    subject: "",
    shown: Shown::Answer,
    status: "/Status",
    succeeded: &[],
    failed: &[],
    ends_gone: false,
    cancel: None,
};

/// A job of SageMaker: its name is given, and identifies it.
macro_rules! sagemaker {
    ($action:literal, $describe:literal, $cancel:literal, $name:literal, $status:literal) => {
        Row {
            service: "sagemaker",
            action: $action,
            start: $action,
            describe: $describe,
            asks: &[($name, Given($name))],
            status: $status,
            succeeded: &["Completed"],
            failed: &["Failed", "Stopped"],
            cancel: Some(($cancel, &[($name, Given($name))])),
            ..ROW
        }
    };
}

/// An operation of EMR Serverless on an application.
macro_rules! application {
    ($action:literal, $form:expr, $id:expr, $succeeded:expr, $failed:expr, $cancel:expr) => {
        Row {
            service: "emr-serverless",
            action: $action,
            form: $form,
            start: $action,
            describe: "getApplication",
            asks: &[("ApplicationId", $id)],
            subject: "/Application",
            status: "/State",
            succeeded: $succeeded,
            failed: $failed,
            cancel: $cancel,
            ..ROW
        }
    };
}

/// A resource that EKS creates, and deletes when the task that waits for it is aborted.
macro_rules! eks_creates {
    ($action:literal, $delete:literal, $describe:literal, $asks:expr, $subject:literal, $failed:expr) => {
        Row {
            service: "eks",
            action: $action,
            start: $action,
            describe: $describe,
            asks: $asks,
            subject: $subject,
            succeeded: &["ACTIVE"],
            failed: $failed,
            cancel: Some(($delete, $asks)),
            ..ROW
        }
    };
}

/// A resource that EKS deletes.
macro_rules! eks_deletes {
    ($action:literal, $describe:literal, $asks:expr, $subject:literal, $failed:expr) => {
        Row {
            service: "eks",
            action: $action,
            start: $action,
            describe: $describe,
            asks: $asks,
            subject: $subject,
            failed: $failed,
            ends_gone: true,
            ..ROW
        }
    };
}

const EKS_CLUSTER: &[Ask] = &[("Name", Given("Name"))];
const EKS_NODES: &[Ask] = &[("ClusterName", Given("ClusterName")), ("NodegroupName", Given("NodegroupName"))];
const EKS_PROFILE: &[Ask] =
    &[("ClusterName", Given("ClusterName")), ("FargateProfileName", Given("FargateProfileName"))];
const BUILD_BATCH: Row = Row {
    service: "codebuild",
    describe: "batchGetBuildBatches",
    asks: &[("Ids", Listed("/BuildBatch/Id"))],
    subject: "/BuildBatches/0",
    shown: Shown::Named("BuildBatch"),
    status: "/BuildBatchStatus",
    succeeded: &["SUCCEEDED"],
    failed: &["FAILED", "FAULT", "TIMED_OUT", "STOPPED"],
    cancel: Some(("stopBuildBatch", &[("Id", Answer("/BuildBatch/Id"))])),
    ..ROW
};

pub(super) const JOBS: &[Row] = &[
    Row {
        service: "states",
        action: "startExecution",
        form: Form::Execution,
        start: "startExecution",
        describe: "describeExecution",
        asks: &[("ExecutionArn", Answer("/ExecutionArn"))],
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "TIMED_OUT", "ABORTED"],
        cancel: Some(("stopExecution", &[("ExecutionArn", Answer("/ExecutionArn")), ("Cause", Reason)])),
        ..ROW
    },
    Row {
        service: "ecs",
        action: "runTask",
        form: Form::EcsTask,
        start: "runTask",
        describe: "describeTasks",
        asks: &[("Cluster", Answer("/Tasks/0/ClusterArn")), ("Tasks", Listed("/Tasks/0/TaskArn"))],
        subject: "/Tasks/0",
        shown: Shown::Subject,
        status: "/LastStatus",
        // Its containers show whether it has succeeded.
        succeeded: &["STOPPED", "DELETED"],
        cancel: Some((
            "stopTask",
            &[
                ("Cluster", Answer("/Tasks/0/ClusterArn")),
                ("Task", Answer("/Tasks/0/TaskArn")),
                ("Reason", Reason),
            ],
        )),
        ..ROW
    },
    Row {
        service: "batch",
        action: "submitJob",
        start: "submitJob",
        describe: "describeJobs",
        asks: &[("Jobs", Listed("/JobId"))],
        subject: "/Jobs/0",
        shown: Shown::Subject,
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED"],
        cancel: Some(("terminateJob", &[("JobId", Answer("/JobId")), ("Reason", Reason)])),
        ..ROW
    },
    Row {
        service: "glue",
        action: "startJobRun",
        start: "startJobRun",
        describe: "getJobRun",
        asks: &[("JobName", Given("JobName")), ("RunId", Answer("/JobRunId"))],
        subject: "/JobRun",
        shown: Shown::Subject,
        status: "/JobRunState",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"],
        cancel: Some((
            "batchStopJobRun",
            &[("JobName", Given("JobName")), ("JobRunIds", Listed("/JobRunId"))],
        )),
        ..ROW
    },
    Row {
        service: "databrew",
        action: "startJobRun",
        start: "startJobRun",
        describe: "describeJobRun",
        asks: &[("Name", Given("Name")), ("RunId", Answer("/RunId"))],
        status: "/State",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "STOPPED", "TIMEOUT"],
        cancel: Some(("stopJobRun", &[("Name", Given("Name")), ("RunId", Answer("/RunId"))])),
        ..ROW
    },
    Row {
        service: "athena",
        action: "startQueryExecution",
        start: "startQueryExecution",
        describe: "getQueryExecution",
        asks: &[("QueryExecutionId", Answer("/QueryExecutionId"))],
        subject: "/QueryExecution",
        status: "/Status/State",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "CANCELLED"],
        cancel: Some(("stopQueryExecution", &[("QueryExecutionId", Answer("/QueryExecutionId"))])),
        ..ROW
    },
    Row {
        service: "elasticmapreduce",
        action: "createCluster",
        form: Form::EmrCluster,
        start: "runJobFlow",
        describe: "describeCluster",
        asks: &[("ClusterId", Answer("/ClusterId"))],
        subject: "/Cluster",
        status: "/Status/State",
        succeeded: &["WAITING"],
        failed: &["TERMINATED", "TERMINATED_WITH_ERRORS"],
        cancel: Some(("terminateJobFlows", &[("JobFlowIds", Listed("/ClusterId"))])),
        ..ROW
    },
    Row {
        service: "elasticmapreduce",
        action: "terminateCluster",
        form: Form::EmrTermination,
        start: "terminateJobFlows",
        describe: "describeCluster",
        asks: &[("ClusterId", Given("ClusterId"))],
        subject: "/Cluster",
        status: "/Status/State",
        succeeded: &["TERMINATED", "TERMINATED_WITH_ERRORS"],
        ..ROW
    },
    Row {
        service: "elasticmapreduce",
        action: "addStep",
        form: Form::EmrStep,
        start: "addJobFlowSteps",
        describe: "describeStep",
        asks: &[("ClusterId", Given("ClusterId")), ("StepId", Answer("/StepId"))],
        subject: "/Step",
        status: "/Status/State",
        succeeded: &["COMPLETED"],
        failed: &["FAILED", "CANCELLED", "INTERRUPTED"],
        cancel: Some(("cancelSteps", &[("ClusterId", Given("ClusterId")), ("StepIds", Listed("/StepId"))])),
        ..ROW
    },
    Row {
        service: "emr-containers",
        action: "startJobRun",
        start: "startJobRun",
        describe: "describeJobRun",
        asks: &[("VirtualClusterId", Given("VirtualClusterId")), ("Id", Answer("/Id"))],
        subject: "/JobRun",
        status: "/State",
        succeeded: &["COMPLETED"],
        failed: &["FAILED", "CANCELLED"],
        cancel: Some((
            "cancelJobRun",
            &[("VirtualClusterId", Given("VirtualClusterId")), ("Id", Answer("/Id"))],
        )),
        ..ROW
    },
    Row {
        service: "emr-containers",
        action: "deleteVirtualCluster",
        start: "deleteVirtualCluster",
        describe: "describeVirtualCluster",
        asks: &[("Id", Given("Id"))],
        subject: "/VirtualCluster",
        status: "/State",
        succeeded: &["TERMINATED"],
        failed: &["ARRESTED"],
        ..ROW
    },
    Row {
        service: "emr-serverless",
        action: "startJobRun",
        start: "startJobRun",
        describe: "getJobRun",
        asks: &[("ApplicationId", Given("ApplicationId")), ("JobRunId", Answer("/JobRunId"))],
        subject: "/JobRun",
        status: "/State",
        succeeded: &["SUCCESS"],
        failed: &["FAILED", "CANCELLED"],
        cancel: Some((
            "cancelJobRun",
            &[("ApplicationId", Given("ApplicationId")), ("JobRunId", Answer("/JobRunId"))],
        )),
        ..ROW
    },
    Row {
        service: "emr-serverless",
        action: "cancelJobRun",
        start: "cancelJobRun",
        describe: "getJobRun",
        asks: &[("ApplicationId", Given("ApplicationId")), ("JobRunId", Given("JobRunId"))],
        subject: "/JobRun",
        status: "/State",
        succeeded: &["CANCELLED"],
        failed: &["SUCCESS", "FAILED"],
        ..ROW
    },
    application!(
        "createApplication",
        Form::Same,
        Answer("/ApplicationId"),
        &["CREATED", "STARTING", "STARTED"],
        &["TERMINATED"],
        Some(("deleteApplication", &[("ApplicationId", Answer("/ApplicationId"))]))
    ),
    application!(
        "startApplication",
        Form::Application,
        Given("ApplicationId"),
        &["STARTED"],
        &["STOPPED", "TERMINATED"],
        Some(("stopApplication", &[("ApplicationId", Given("ApplicationId"))]))
    ),
    application!(
        "stopApplication",
        Form::Application,
        Given("ApplicationId"),
        &["STOPPED", "CREATED"],
        &["TERMINATED"],
        None
    ),
    application!("deleteApplication", Form::Application, Given("ApplicationId"), &["TERMINATED"], &[], None),
    eks_creates!("createCluster", "deleteCluster", "describeCluster", EKS_CLUSTER, "/Cluster", &["FAILED"]),
    eks_deletes!("deleteCluster", "describeCluster", EKS_CLUSTER, "/Cluster", &["FAILED"]),
    eks_creates!(
        "createNodegroup",
        "deleteNodegroup",
        "describeNodegroup",
        EKS_NODES,
        "/Nodegroup",
        &["CREATE_FAILED", "DEGRADED"]
    ),
    eks_deletes!("deleteNodegroup", "describeNodegroup", EKS_NODES, "/Nodegroup", &["DELETE_FAILED"]),
    eks_creates!(
        "createFargateProfile",
        "deleteFargateProfile",
        "describeFargateProfile",
        EKS_PROFILE,
        "/FargateProfile",
        &["CREATE_FAILED"]
    ),
    eks_deletes!(
        "deleteFargateProfile",
        "describeFargateProfile",
        EKS_PROFILE,
        "/FargateProfile",
        &["DELETE_FAILED"]
    ),
    sagemaker!(
        "createTrainingJob",
        "describeTrainingJob",
        "stopTrainingJob",
        "TrainingJobName",
        "/TrainingJobStatus"
    ),
    sagemaker!(
        "createTransformJob",
        "describeTransformJob",
        "stopTransformJob",
        "TransformJobName",
        "/TransformJobStatus"
    ),
    sagemaker!(
        "createHyperParameterTuningJob",
        "describeHyperParameterTuningJob",
        "stopHyperParameterTuningJob",
        "HyperParameterTuningJobName",
        "/HyperParameterTuningJobStatus"
    ),
    sagemaker!(
        "createLabelingJob",
        "describeLabelingJob",
        "stopLabelingJob",
        "LabelingJobName",
        "/LabelingJobStatus"
    ),
    sagemaker!(
        "createProcessingJob",
        "describeProcessingJob",
        "stopProcessingJob",
        "ProcessingJobName",
        "/ProcessingJobStatus"
    ),
    sagemaker!("createAutoMLJob", "describeAutoMLJob", "stopAutoMLJob", "AutoMLJobName", "/AutoMLJobStatus"),
    sagemaker!(
        "createAutoMLJobV2",
        "describeAutoMLJobV2",
        "stopAutoMLJob",
        "AutoMLJobName",
        "/AutoMLJobStatus"
    ),
    Row {
        service: "codebuild",
        action: "startBuild",
        start: "startBuild",
        describe: "batchGetBuilds",
        asks: &[("Ids", Listed("/Build/Id"))],
        subject: "/Builds/0",
        shown: Shown::Named("Build"),
        status: "/BuildStatus",
        succeeded: &["SUCCEEDED"],
        failed: &["FAILED", "FAULT", "TIMED_OUT", "STOPPED"],
        cancel: Some(("stopBuild", &[("Id", Answer("/Build/Id"))])),
        ..ROW
    },
    Row { action: "startBuildBatch", start: "startBuildBatch", ..BUILD_BATCH },
    Row { action: "retryBuildBatch", start: "retryBuildBatch", ..BUILD_BATCH },
    Row {
        service: "mediaconvert",
        action: "createJob",
        start: "createJob",
        describe: "getJob",
        asks: &[("Id", Answer("/Job/Id"))],
        subject: "/Job",
        succeeded: &["COMPLETE"],
        failed: &["ERROR", "CANCELED"],
        cancel: Some(("cancelJob", &[("Id", Answer("/Job/Id"))])),
        ..ROW
    },
    Row {
        service: "bedrock",
        action: "createModelCustomizationJob",
        start: "createModelCustomizationJob",
        describe: "getModelCustomizationJob",
        asks: &[("JobIdentifier", Answer("/JobArn"))],
        succeeded: &["Completed"],
        failed: &["Failed", "Stopped"],
        cancel: Some(("stopModelCustomizationJob", &[("JobIdentifier", Answer("/JobArn"))])),
        ..ROW
    },
];
