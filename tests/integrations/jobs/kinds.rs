//! Each kind of job: its parameters, and how its service speaks of it.

use serde_json::{Value, json};

/// A job, as its service describes it.
pub(super) struct Job {
    pub(super) resource: &'static str,
    pub(super) parameters: Value,
    pub(super) start: (&'static str, Value),
    /// What it is asked for, with the answer around a status.
    pub(super) describe: (&'static str, Value, fn(&str) -> Value),
    pub(super) running: &'static str,
    pub(super) succeeded: &'static str,
    pub(super) failed: &'static str,
    /// The task's result around a status.
    pub(super) result: fn(&str) -> Value,
    /// What it is cancelled by, and members of its body.
    pub(super) cancel: (&'static str, Value),
}

pub(super) fn jobs() -> Vec<Job> {
    let mut jobs = vec![
        Job {
            resource: "glue:startJobRun.sync",
            parameters: json!({"JobName": "j", "Arguments": {"--day": "1"}}),
            start: ("StartJobRun", json!({"JobRunId": "r1"})),
            describe: (
                "GetJobRun",
                json!({"JobName": "j", "RunId": "r1"}),
                |status| json!({"JobRun": {"Id": "r1", "JobRunState": status, "StartedOn": 1_700_000_000.5, "Unknown": 1}}),
            ),
            running: "RUNNING",
            succeeded: "SUCCEEDED",
            failed: "TIMEOUT",
            result: |status| json!({"Id": "r1", "StartedOn": 1_700_000_000_500_u64, "JobRunState": status}),
            cancel: ("BatchStopJobRun", json!({"JobName": "j", "JobRunIds": ["r1"]})),
        },
        Job {
            resource: "athena:startQueryExecution.sync",
            parameters: json!({"QueryString": "SELECT 1", "WorkGroup": "w"}),
            start: ("StartQueryExecution", json!({"QueryExecutionId": "q1"})),
            describe: (
                "GetQueryExecution",
                json!({"QueryExecutionId": "q1"}),
                |status| json!({"QueryExecution": {"QueryExecutionId": "q1", "Status": {"State": status}}}),
            ),
            running: "QUEUED",
            succeeded: "SUCCEEDED",
            failed: "CANCELLED",
            result: |status| json!({"QueryExecution": {"QueryExecutionId": "q1", "Status": {"State": status}}}),
            cancel: ("StopQueryExecution", json!({"QueryExecutionId": "q1"})),
        },
        Job {
            resource: "codebuild:startBuild.sync",
            parameters: json!({"ProjectName": "project"}),
            start: ("StartBuild", json!({"build": {"id": "b1"}})),
            describe: (
                "BatchGetBuilds",
                json!({"ids": ["b1"]}),
                |status| json!({"builds": [{"id": "b1", "buildStatus": status}]}),
            ),
            running: "IN_PROGRESS",
            succeeded: "SUCCEEDED",
            failed: "FAULT",
            result: |status| json!({"Build": {"Id": "b1", "BuildStatus": status}}),
            cancel: ("StopBuild", json!({"id": "b1"})),
        },
        Job {
            resource: "sagemaker:createTransformJob.sync",
            parameters: json!({"ModelName": "m", "TransformJobName": "t",
                "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
                "TransformOutput": {"S3OutputPath": "s3://b/out"},
                "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.m5.large"}}),
            start: ("CreateTransformJob", json!({"TransformJobArn": "a"})),
            describe: (
                "DescribeTransformJob",
                json!({"TransformJobName": "t"}),
                |status| json!({"TransformJobName": "t", "TransformJobStatus": status}),
            ),
            running: "InProgress",
            succeeded: "Completed",
            failed: "Stopped",
            result: |status| json!({"TransformJobName": "t", "TransformJobStatus": status}),
            cancel: ("StopTransformJob", json!({"TransformJobName": "t"})),
        },
        Job {
            resource: "elasticmapreduce:addStep.sync",
            parameters: json!({"ClusterId": "c", "Step": {"Name": "s", "HadoopJarStep": {"Jar": "j"}}}),
            start: ("AddJobFlowSteps", json!({"StepIds": ["s1"]})),
            describe: (
                "DescribeStep",
                json!({"ClusterId": "c", "StepId": "s1"}),
                |status| json!({"Step": {"Id": "s1", "Status": {"State": status}}}),
            ),
            running: "PENDING",
            succeeded: "COMPLETED",
            failed: "INTERRUPTED",
            result: |status| json!({"Step": {"Id": "s1", "Status": {"State": status}}}),
            cancel: ("CancelSteps", json!({"ClusterId": "c", "StepIds": ["s1"]})),
        },
        Job {
            resource: "elasticmapreduce:createCluster.sync",
            parameters: json!({"Name": "n", "Instances": {"KeepJobFlowAliveWhenNoSteps": true}}),
            start: ("RunJobFlow", json!({"JobFlowId": "c1", "ClusterArn": "a"})),
            describe: (
                "DescribeCluster",
                json!({"ClusterId": "c1"}),
                |status| json!({"Cluster": {"Id": "c1", "Status": {"State": status}}}),
            ),
            running: "BOOTSTRAPPING",
            succeeded: "WAITING",
            failed: "TERMINATED_WITH_ERRORS",
            result: |status| json!({"Cluster": {"Id": "c1", "Status": {"State": status}}, "ClusterId": "c1"}),
            cancel: ("TerminateJobFlows", json!({"JobFlowIds": ["c1"]})),
        },
        Job {
            resource: "batch:submitJob.sync",
            parameters: json!({"JobName": "n", "JobQueue": "q", "JobDefinition": "d", "RetryStrategy": {"Attempts": 2}}),
            start: ("POST /v1/submitjob", json!({"jobId": "i", "jobName": "n"})),
            describe: (
                "POST /v1/describejobs",
                json!({"jobs": ["i"]}),
                |status| json!({"jobs": [{"jobId": "i", "status": status, "createdAt": 1_700_000_000_000_u64}]}),
            ),
            running: "RUNNABLE",
            succeeded: "SUCCEEDED",
            failed: "FAILED",
            result: |status| json!({"JobId": "i", "Status": status, "CreatedAt": 1_700_000_000_000_u64}),
            cancel: ("POST /v1/terminatejob", json!({"jobId": "i"})),
        },
        Job {
            resource: "databrew:startJobRun.sync",
            parameters: json!({"Name": "my job"}),
            start: ("POST /jobs/my%20job/startJobRun", json!({"RunId": "r"})),
            describe: (
                "GET /jobs/my%20job/jobRun/r",
                json!({}),
                |status| json!({"JobName": "my job", "State": status, "CompletedOn": 1_700_000_000}),
            ),
            running: "STARTING",
            succeeded: "SUCCEEDED",
            failed: "STOPPED",
            result: |status| json!({"CompletedOn": 1_700_000_000_000_u64, "JobName": "my job", "State": status}),
            cancel: ("POST /jobs/my%20job/jobRun/r/stopJobRun", json!({})),
        },
        Job {
            resource: "emr-serverless:startJobRun.sync",
            parameters: json!({"ApplicationId": "a", "ExecutionRoleArn": "r", "JobDriver": {"SparkSubmit": {"EntryPoint": "e"}}}),
            start: (
                "POST /applications/a/jobruns",
                json!({"applicationId": "a", "jobRunId": "j", "arn": "x"}),
            ),
            describe: (
                "GET /applications/a/jobruns/j",
                json!({}),
                |status| json!({"jobRun": {"jobRunId": "j", "state": status}}),
            ),
            running: "SCHEDULED",
            succeeded: "SUCCESS",
            failed: "CANCELLED",
            result: |status| json!({"JobRun": {"JobRunId": "j", "State": status}}),
            cancel: ("DELETE /applications/a/jobruns/j", json!({})),
        },
        Job {
            resource: "emr-containers:startJobRun.sync",
            parameters: json!({"VirtualClusterId": "v", "Name": "n"}),
            start: ("POST /virtualclusters/v/jobruns", json!({"id": "j", "virtualClusterId": "v"})),
            describe: (
                "GET /virtualclusters/v/jobruns/j",
                json!({}),
                |status| json!({"jobRun": {"id": "j", "state": status}}),
            ),
            running: "SUBMITTED",
            succeeded: "COMPLETED",
            failed: "FAILED",
            result: |status| json!({"JobRun": {"Id": "j", "State": status}}),
            cancel: ("DELETE /virtualclusters/v/jobruns/j", json!({})),
        },
        Job {
            resource: "mediaconvert:createJob.sync",
            parameters: json!({"Role": "r", "Settings": {"Inputs": [{"FileInput": "s3://b/k"}]}}),
            start: ("POST /2017-08-29/jobs", json!({"job": {"id": "j"}})),
            describe: (
                "GET /2017-08-29/jobs/j",
                json!({}),
                |status| json!({"job": {"id": "j", "status": status}}),
            ),
            running: "PROGRESSING",
            succeeded: "COMPLETE",
            failed: "ERROR",
            result: |status| json!({"Job": {"Id": "j", "Status": status}}),
            cancel: ("DELETE /2017-08-29/jobs/j", json!({})),
        },
        Job {
            resource: "bedrock:createModelCustomizationJob.sync",
            parameters: json!({"JobName": "n", "CustomModelName": "c", "RoleArn": "r", "BaseModelIdentifier": "b",
                "TrainingDataConfig": {"S3Uri": "s3://b/k"}, "OutputDataConfig": {"S3Uri": "s3://b/o"}, "HyperParameters": {}}),
            start: ("POST /model-customization-jobs", json!({"jobArn": "arn:j"})),
            describe: (
                "GET /model-customization-jobs/arn%3Aj",
                json!({}),
                |status| json!({"jobName": "n", "status": status}),
            ),
            running: "InProgress",
            succeeded: "Completed",
            failed: "Failed",
            result: |status| json!({"JobName": "n", "Status": status}),
            cancel: ("POST /model-customization-jobs/arn%3Aj/stop", json!({})),
        },
        Job {
            resource: "states:startExecution.sync:2",
            parameters: json!({"StateMachineArn": "arn:m", "Input": {"a": 1}, "Name": "n"}),
            start: ("StartExecution", json!({"executionArn": "arn:e", "startDate": 1_700_000_000.5})),
            describe: ("DescribeExecution", json!({"executionArn": "arn:e"}), |status| {
                json!({"executionArn": "arn:e", "status": status, "startDate": 1_700_000_000.5, "input": "{\"a\": 1}",
                    "output": "[2]", "inputDetails": {"included": true}})
            }),
            running: "RUNNING",
            succeeded: "SUCCEEDED",
            failed: "TIMED_OUT",
            result: |status| match status {
                "SUCCEEDED" => {
                    json!({"ExecutionArn": "arn:e", "Input": {"a": 1}, "InputDetails": {"Included": true},
                    "Output": [2], "StartDate": 1_700_000_000_500_u64, "Status": status})
                }
                status => {
                    json!({"ExecutionArn": "arn:e", "Input": "{\"a\": 1}", "InputDetails": {"Included": true},
                    "Output": "[2]", "StartDate": 1_700_000_000_500_u64, "Status": status})
                }
            },
            cancel: ("StopExecution", json!({"executionArn": "arn:e"})),
        },
        Job {
            resource: "ecs:runTask.sync",
            parameters: json!({"Cluster": "c", "TaskDefinition": "d"}),
            start: ("RunTask", task("PROVISIONING", &json!({}))),
            describe: ("DescribeTasks", json!({"cluster": "c1", "tasks": ["t1"]}), |status| match status {
                "FAILED" => task("STOPPED", &json!({"containers": [{"exitCode": 1}]})),
                status => task(status, &json!({})),
            }),
            running: "RUNNING",
            succeeded: "STOPPED",
            failed: "FAILED",
            result: |status| match status {
                "FAILED" => json!({"TaskArn": "t1", "ClusterArn": "c1", "LastStatus": "STOPPED",
                    "Containers": [{"ExitCode": 1}]}),
                status => json!({"TaskArn": "t1", "ClusterArn": "c1", "LastStatus": status}),
            },
            cancel: ("StopTask", json!({"cluster": "c1", "task": "t1"})),
        },
        Job {
            resource: "codebuild:startBuildBatch.sync",
            parameters: json!({"ProjectName": "project"}),
            start: ("StartBuildBatch", json!({"buildBatch": {"id": "b1"}})),
            describe: (
                "BatchGetBuildBatches",
                json!({"ids": ["b1"]}),
                |status| json!({"buildBatches": [{"id": "b1", "buildBatchStatus": status}]}),
            ),
            running: "IN_PROGRESS",
            succeeded: "SUCCEEDED",
            failed: "STOPPED",
            result: |status| json!({"BuildBatch": {"Id": "b1", "BuildBatchStatus": status}}),
            cancel: ("StopBuildBatch", json!({"id": "b1"})),
        },
        Job {
            resource: "emr-serverless:createApplication.sync",
            parameters: json!({"Name": "n", "ReleaseLabel": "emr-6.6.0", "Type": "SPARK"}),
            start: ("POST /applications", json!({"applicationId": "a", "arn": "x"})),
            describe: ("GET /applications/a", json!({}), application),
            running: "CREATING",
            succeeded: "CREATED",
            failed: "TERMINATED",
            result: |status| json!({"Application": {"ApplicationId": "a", "State": status}}),
            cancel: ("DELETE /applications/a", json!({})),
        },
        Job {
            resource: "emr-serverless:startApplication.sync",
            parameters: json!({"ApplicationId": "a"}),
            start: ("POST /applications/a/start", json!({})),
            describe: ("GET /applications/a", json!({}), application),
            running: "STARTING",
            succeeded: "STARTED",
            failed: "TERMINATED",
            result: |status| json!({"Application": {"ApplicationId": "a", "State": status}}),
            cancel: ("POST /applications/a/stop", json!({})),
        },
        Job {
            resource: "eks:createCluster.sync",
            parameters: json!({"Name": "c", "RoleArn": "r", "ResourcesVpcConfig": {"SubnetIds": ["s"]}}),
            start: ("POST /clusters", json!({"cluster": {"name": "c", "status": "CREATING"}})),
            describe: (
                "GET /clusters/c",
                json!({}),
                |status| json!({"cluster": {"name": "c", "status": status}}),
            ),
            running: "CREATING",
            succeeded: "ACTIVE",
            failed: "FAILED",
            result: |status| json!({"Cluster": {"Name": "c", "Status": status}}),
            cancel: ("DELETE /clusters/c", json!({})),
        },
        Job {
            resource: "eks:createNodegroup.sync",
            parameters: json!({"ClusterName": "c", "NodegroupName": "n", "NodeRole": "r", "Subnets": ["s"]}),
            start: ("POST /clusters/c/node-groups", json!({"nodegroup": {"status": "CREATING"}})),
            describe: (
                "GET /clusters/c/node-groups/n",
                json!({}),
                |status| json!({"nodegroup": {"nodegroupName": "n", "status": status}}),
            ),
            running: "CREATING",
            succeeded: "ACTIVE",
            failed: "CREATE_FAILED",
            result: |status| json!({"Nodegroup": {"NodegroupName": "n", "Status": status}}),
            cancel: ("DELETE /clusters/c/node-groups/n", json!({})),
        },
        Job {
            resource: "eks:createFargateProfile.sync",
            parameters: json!({"ClusterName": "c", "FargateProfileName": "f", "PodExecutionRoleArn": "r"}),
            start: ("POST /clusters/c/fargate-profiles", json!({"fargateProfile": {"status": "CREATING"}})),
            describe: (
                "GET /clusters/c/fargate-profiles/f",
                json!({}),
                |status| json!({"fargateProfile": {"fargateProfileName": "f", "status": status}}),
            ),
            running: "CREATING",
            succeeded: "ACTIVE",
            failed: "CREATE_FAILED",
            result: |status| json!({"FargateProfile": {"FargateProfileName": "f", "Status": status}}),
            cancel: ("DELETE /clusters/c/fargate-profiles/f", json!({})),
        },
    ];
    jobs.extend(others_of_sagemaker());
    jobs
}

/// A job of SageMaker, which is known by the name that it is given.
macro_rules! sagemaker {
    ($kind:literal, $parameters:expr) => {
        Job {
            resource: concat!("sagemaker:create", $kind, "Job.sync"),
            parameters: $parameters,
            start: (concat!("Create", $kind, "Job"), json!({})),
            describe: (
                concat!("Describe", $kind, "Job"),
                json!({concat!($kind, "JobName"): "n"}),
                |status| json!({concat!($kind, "JobName"): "n", concat!($kind, "JobStatus"): status}),
            ),
            running: "Stopping",
            succeeded: "Completed",
            failed: "Failed",
            result: |status| json!({concat!($kind, "JobName"): "n", concat!($kind, "JobStatus"): status}),
            cancel: (concat!("Stop", $kind, "Job"), json!({concat!($kind, "JobName"): "n"})),
        }
    };
}

fn others_of_sagemaker() -> Vec<Job> {
    vec![
        sagemaker!(
            "Training",
            json!({"TrainingJobName": "n", "RoleArn": "r", "AlgorithmSpecification": {"TrainingInputMode": "File"},
                "OutputDataConfig": {"S3OutputPath": "s3://b/o"}, "StoppingCondition": {"MaxRuntimeInSeconds": 60},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}})
        ),
        sagemaker!(
            "HyperParameterTuning",
            json!({"HyperParameterTuningJobName": "n", "HyperParameterTuningJobConfig": {"Strategy": "Random",
                "ResourceLimits": {"MaxParallelTrainingJobs": 1}}})
        ),
        sagemaker!(
            "Labeling",
            json!({"LabelingJobName": "n", "LabelAttributeName": "l", "RoleArn": "r", "InputConfig": {"DataSource": {}},
                "OutputConfig": {"S3OutputPath": "s3://b/o"}, "HumanTaskConfig": {"WorkteamArn": "w", "UiConfig": {},
                    "TaskTitle": "t", "TaskDescription": "d", "NumberOfHumanWorkersPerDataObject": 1,
                    "TaskTimeLimitInSeconds": 60}})
        ),
        sagemaker!(
            "Processing",
            json!({"ProcessingJobName": "n", "RoleArn": "r", "AppSpecification": {"ImageUri": "i"},
                "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}}})
        ),
    ]
}

fn application(status: &str) -> Value {
    json!({"application": {"applicationId": "a", "state": status}})
}

pub(super) fn task(status: &str, more: &Value) -> Value {
    let mut task = json!({"taskArn": "t1", "clusterArn": "c1", "lastStatus": status});
    task.as_object_mut().expect("an object").extend(more.as_object().expect("fields").clone());
    json!({"tasks": [task]})
}
