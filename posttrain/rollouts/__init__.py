"""Policy meets environment: answers are sampled, scored and put in rows."""
