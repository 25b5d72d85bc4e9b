"""The pages as the browser gets them: modules, style sheets and documents, and what joins them into one document."""
