"""What do several rooms find together that none finds alone?"""
