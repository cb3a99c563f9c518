"""BatchTaskScheduler: the loop that has the planner's decisions carried out and makes their results durable."""
